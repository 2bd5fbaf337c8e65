"""Config -> engine. An engine is imported only where it is used, so that the core needs no torch."""

from selfstudy.config import EngineConfig, ExtractiveEngine, SamplingConfig, ScriptedEngine, VllmEngine
from selfstudy.engines.base import Engine
from selfstudy.prompts import Prompts


def load_engine(config: EngineConfig, *, sampling: SamplingConfig, prompts: Prompts) -> Engine:
    """Start the engine that the config names. Blocks until it can take requests.

    Raises:
        EngineUnusable: the model cannot be loaded, the endpoint refuses us, or its package is not installed.
    """
    if isinstance(config, ExtractiveEngine):
        from selfstudy.engines import extractive

        return extractive.ExtractiveEngine()
    if isinstance(config, ScriptedEngine):
        from selfstudy.engines import scripted

        return scripted.ScriptedEngine(config)
    if isinstance(config, VllmEngine):
        from selfstudy.engines import vllm

        return vllm.VllmModel(config, sampling=sampling, prompts=prompts)
    from selfstudy.engines import openai

    return openai.OpenaiEndpoint(config, sampling=sampling, prompts=prompts)
