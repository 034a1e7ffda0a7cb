"""Where it runs: the container image, KubeRay manifests and their checks."""
