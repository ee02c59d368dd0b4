"""The one way in which everything is partitioned: by batch of videos."""

import dagster as dg

VIDEO_BATCH = dg.DynamicPartitionsDefinition(name="video_batch")
"""One partition per sealed batch; the sensor adds them."""
