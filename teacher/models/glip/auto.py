"""Register GLIP with transformers' Auto classes. Importing it twice changes nothing."""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
)

from teacher.models.glip.config import GlipConfig
from teacher.models.glip.images.processor import GlipImageProcessor
from teacher.models.glip.modeling import GlipForGrounding, GlipModel
from teacher.models.glip.processing import GlipProcessor

AutoConfig.register(GlipConfig.model_type, GlipConfig, exist_ok=True)
AutoModel.register(GlipConfig, GlipModel, exist_ok=True)
AutoModelForZeroShotObjectDetection.register(GlipConfig, GlipForGrounding, exist_ok=True)
AutoProcessor.register(GlipConfig, GlipProcessor, exist_ok=True)
AutoImageProcessor.register(GlipConfig, image_processor_classes={"pil": GlipImageProcessor}, exist_ok=True)
