"""The layers of GLIP: backbones, fusion, dynamic head and their operators."""
