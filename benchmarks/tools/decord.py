"""decord."""

from __future__ import annotations

from benchmarks.tools.base import Request


class Decord:
    """Get the frames of given positions in one call."""

    def __init__(self) -> None:
        import decord  # noqa: PLC0415

        self.version: str = decord.__version__

    def extract(self, request: Request) -> int:
        import decord  # noqa: PLC0415

        height, width = request.size or (-1, -1)
        reader = decord.VideoReader(str(request.path), width=width, height=height, num_threads=1)
        return len(reader.get_batch(request.positions.tolist()).asnumpy())
