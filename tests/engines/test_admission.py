"""Admission: a bound, and the oldest chunk first."""

import asyncio

from selfstudy.engines.admission import Admission


def test_an_answer_overtakes_the_questions_of_later_chunks() -> None:
    async def scenario() -> list[str]:
        admission = Admission(1)
        order: list[str] = []

        async def visit(chunk: str, name: str) -> None:
            async with admission.enter(chunk):
                order.append(name)
                await asyncio.sleep(0)

        async def ask_and_answer(chunk: str) -> None:
            await visit(chunk, f"{chunk}?")
            await visit(chunk, f"{chunk}!")

        await asyncio.gather(*(ask_and_answer(chunk) for chunk in "abc"))
        return order

    # b? is let in while a's answer is not there yet; then a comes before c, and b before c.
    assert asyncio.run(scenario()) == ["a?", "b?", "a!", "b!", "c?", "c!"]


def test_no_more_than_the_limit_are_inside() -> None:
    async def scenario() -> int:
        admission = Admission(3)
        inside = most = 0

        async def visit(number: int) -> None:
            nonlocal inside, most
            async with admission.enter(str(number % 5)):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*map(visit, range(50)))
        return most

    assert asyncio.run(scenario()) == 3


def test_a_cancelled_request_gives_its_place_back() -> None:
    async def scenario() -> None:
        admission = Admission(1)
        async with admission.enter("a"):
            waiting = asyncio.create_task(_visit(admission, "b"))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            chosen = asyncio.create_task(_visit(admission, "c"))
            await asyncio.sleep(0)
        # c's turn has come, and it is cancelled before it could take it.
        chosen.cancel()
        await asyncio.gather(chosen, return_exceptions=True)
        async with asyncio.timeout(10):
            await _visit(admission, "d")

    asyncio.run(scenario())


async def _visit(admission: Admission, chunk: str) -> None:
    async with admission.enter(chunk):
        pass
