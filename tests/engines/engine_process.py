"""A process with a running engine, for tests that kill it. Prints its pid, then works until it is ended."""

import asyncio
import itertools
import sys

from selfstudy.config import CallSampling, QuestionSampling, SamplingConfig, VllmEngine
from selfstudy.engines.base import Call, Request
from selfstudy.engines.vllm import VllmModel
from selfstudy.prompts import load_prompts


async def work(model: VllmModel) -> None:
    async def one(number: int) -> None:
        request = Request(
            call=Call.QUESTION,
            pair_id=str(number),
            chunk_key=str(number // 4),
            title="",
            passage=f"The Danube flows through ten countries. {number // 4}",
            target="It is long.",
            style="factual",
            seed=number,
        )
        await model.complete(request)

    for first in itertools.count(0, 8):
        await asyncio.gather(*(one(number) for number in range(first, first + 8)))
        print("served", flush=True)


def main() -> None:
    config = VllmEngine.model_validate_json(sys.argv[1])
    sampling = SamplingConfig(
        question=QuestionSampling(max_tokens=32), answer=CallSampling(max_tokens=32), ignore_eos=True
    )
    asyncio.run(work(VllmModel(config, sampling=sampling, prompts=load_prompts())))


if __name__ == "__main__":
    main()
