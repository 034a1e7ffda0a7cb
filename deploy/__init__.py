"""Deployment: the container image, KubeRay manifests and their checks."""
