"""OpenCV."""

from __future__ import annotations

import numpy as np

from benchmarks.tools.base import Request


class OpenCv:
    """Grabs every frame and retrieves the wanted ones; seeks for a single frame."""

    def __init__(self) -> None:
        import cv2  # noqa: PLC0415

        cv2.setNumThreads(1)
        self.version: str = cv2.__version__

    def extract(self, request: Request) -> int:
        import cv2  # noqa: PLC0415

        capture = cv2.VideoCapture(str(request.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        wanted = request.positions.tolist()
        at = 0
        if len(wanted) == 1:
            at = wanted[0]
            capture.set(cv2.CAP_PROP_POS_FRAMES, at)
        pixels = []
        for position in wanted:
            while at <= position:
                capture.grab()
                at += 1
            _, image = capture.retrieve()
            if request.size:
                height, width = request.size
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
            pixels.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        capture.release()
        return len(np.stack(pixels))
