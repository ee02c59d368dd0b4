"""The commands, as they are typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from frames_pipeline.cli import main
from frames_pipeline.cli.options import storage_options
from frames_pipeline.decoding.backends import DECODERS
from frames_pipeline.export import FORMATS
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.pipeline import (
    Suspect,
    Suspects,
    Workspace,
    catalog_batch,
    embed_batch,
    extract_batch,
)
from frames_pipeline.readers.packs import open_pack
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import FrameStore
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from frames_pipeline.tables import ClipRow
from tests.containers import with_aperture
from tests.libraries import need
from tests.pipeline.conftest import BATCH, ONE, cut, footage, workspace
from tests.s3 import S3
from tests.videos import X264, make_video

__all__ = ["cut", "footage", "workspace"]

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
ONE_PROCESS = ("--processes", "1")


def run(*command: object) -> Result:
    return CliRunner().invoke(main, [str(part) for part in command])


def parsed(*command: object) -> Any:
    result = run(*command, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def root(cut: Workspace, tmp_path: Path) -> Path:
    """A batch of four videos, with frames and embeddings."""
    extract_batch(BATCH, [TWO], cut, workers=ONE)
    embed_batch(BATCH, TWO, cut, PerceptualEmbedding())
    return tmp_path / "root"


def test_probe(tmp_path: Path, video: Path) -> None:
    (row,) = parsed("probe", video)
    assert (row["codec"], row["frames"], row["rate"], row["key_frames"]) == ("h264", 48, "25", 4)
    assert (row["height"], row["width"], row["seconds"]) == (48, 64, 1.92)
    assert row["crop"] == ""
    assert (row["bit_depth"], row["chroma"], row["primaries"]) == (8, "4:2:0", "unspecified")
    assert row["picture"] == "8-bit 4:2:0, progressive"
    assert "8-bit 4:2:0, progressive" in run("probe", video).stdout
    assert "chroma" not in run("probe", video).stdout
    cut = with_aperture(video, tmp_path / "cut.mp4", (32, 1, 24, 1, 3, 1, 0, 1))
    (row,) = parsed("probe", cut)
    assert (row["height"], row["width"], row["crop"]) == (48, 64, "12/12/19/13")

    assert (row["timestamps"], row["detail"]) == ("container", "")

    raw = make_video(tmp_path / "raw.h264", frames=3)
    (row,) = parsed("probe", raw)
    assert (row["timestamps"], row["detail"]) == ("counted", "the container gives no times")

    (tmp_path / "text.mp4").write_text("no")
    both = run("probe", video, tmp_path / "text.mp4")
    assert both.exit_code == 1
    assert "text.mp4 is not a video" in both.stdout
    (row,) = json.loads(run("probe", tmp_path / "text.mp4", "--json").stdout)
    assert (row["picture"], row["bit_depth"], row["pixel_aspect"]) == ("", None, None)


def test_extract_and_look(tmp_path: Path, video: Path) -> None:
    command = ("extract", video, "--root", tmp_path, *ONE_PROCESS)
    chosen = ("-s", "policy=uniform,num_frames=3", "-s", '{"policy":"last","target_res":[24,-1]}')
    rows = parsed(*command, *chosen)
    assert [row["frames"] for row in rows] == [3, 1]

    adhoc = tmp_path / "adhoc"
    listed = parsed("ls", adhoc)
    assert {row["signature"] for row in listed} == {row["signature"] for row in rows}
    batch, signature = listed[0]["batch"], listed[0]["signature"]
    (clip, *_) = parsed("ls", adhoc, batch)
    assert (adhoc / clip["path"] / "zarr.json").exists()

    sheet = tmp_path / "sheet.jpg"
    assert run("show", adhoc, batch, signature, "-o", sheet).exit_code == 0
    with Image.open(sheet) as picture:
        assert picture.format == "JPEG"
    blocks = run("show", adhoc, batch, signature, "--columns", 40).stdout.splitlines()
    assert len({line.count("▀") for line in blocks}) == 1
    assert blocks[0].count("▀") == 40


def test_a_clip_that_fails_is_an_exit_code(tmp_path: Path, video: Path) -> None:
    gone = run("extract", video, tmp_path / "gone.mp4", "--root", tmp_path / "root", *ONE_PROCESS)
    assert gone.exit_code == 1
    assert "gone.mp4" in gone.stdout
    assert "failed" in gone.stdout


def test_verify_and_collect(root: Path) -> None:
    assert parsed("verify", root)["faults"] == []
    victim = next(root.glob("frames/*/*/clips/a-*/*/frames/c/0/0/0/0"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert run("verify", root).exit_code == 0
    deep = run("verify", root, "--deep")
    assert deep.exit_code == 1
    assert "has other bytes" in deep.output

    assert run("retire", root, BATCH, "--withdraw").exit_code == 0
    assert parsed("ls", root)[0]["state"] == "retired"
    said = parsed("gc", root, "--grace-hours", 0)
    assert said["dry_run"]
    assert victim.exists()
    assert "yes" in run("gc", root, "--grace-hours", 0, "--delete").stdout
    assert not victim.exists()
    assert "in use" in run("retire", root, BATCH, "--undo").stdout
    assert parsed("ls", root)[0]["state"] == ""


def test_a_suspect_family_is_listed_counted_and_cleared(root: Path, cut: Workspace) -> None:
    assert run("suspects", root).stderr == "no suspect families\n"
    (family,) = {
        commit.outcome.decode.family for commit in cut.store.manifest(BATCH, TWO).clips.values()
    }
    suspect = Suspect(family, batch=BATCH, video="a.mp4", found=("position 3: other pixels",))
    Suspects(cut.store.objects).mark(suspect)
    assert parsed("ls", root)[0]["suspect"] == 8
    assert {row["suspect"] for row in parsed("ls", root, BATCH)} == {"yes"}
    (row,) = parsed("suspects", root)
    assert (row["key"], row["found"]) == (family, ["position 3: other pixels"])
    assert family in run("suspects", root).stdout
    (estimate,) = parsed("dry-run", root, "-s", "target_fps=2,target_res=24x32")
    assert len(estimate["to_do"]) == 8

    unknown = run("suspects", root, "--clear", "h264-mov-0000000000000000")
    assert unknown.exit_code == 1
    assert f"there is {family}" in unknown.stderr
    assert "decoded by plan again" in run("suspects", root, "--clear", family).stdout
    assert parsed("ls", root)[0]["suspect"] == 0
    assert parsed("suspects", root) == []


def test_a_dry_run_tells_of_clips_left_as_coded(root: Path, cut: Workspace) -> None:
    table = cut.table("clips", BATCH)
    assert table is not None
    rows = ClipRow.from_table(table)
    changed = [replace(rows[0], transfer="smpte2084"), *rows[1:]]
    cut.tables.write("clips", BATCH, ClipRow.to_table(changed))
    shown = run("dry-run", root, "-s", "target_fps=2,target_res=24x32").stdout
    assert f"{BATCH} {TWO.key}: 1 of 8 clips: PQ or HLG" in shown
    assert "Set `colour: sdr`" in shown


def test_an_encoding_is_written_field_by_field(root: Path) -> None:
    fields = "target_fps=2,encoding.codec=jpeg,encoding.quality=85,encoding.chroma=4:4:4"
    (written,) = parsed("dry-run", root, "-s", fields)
    encoding = {"codec": "jpeg", "quality": 85, "chroma": "4:4:4"}
    (document,) = parsed("dry-run", root, "-s", json.dumps({"encoding": encoding}))
    signature = FrameExtractionSignature(encoding=encoding)
    assert {row["signature"] for row in (written, document)} == {signature.key}


def test_lineage(root: Path) -> None:
    clip = "b.mp4#12800-25600"
    video = parsed("lineage", "video", root, "b.mp4")
    assert len(video["rows"]) == 6
    frame = parsed("lineage", "frame", root, BATCH, clip, 37)
    assert [row["positions"] for row in frame["rows"]] == [[37]]
    rows = run("lineage", "rows", root, "embeddings", BATCH, "--clip", clip)
    assert rows.stdout.count("perceptual") == 3
    assert run("lineage", "video", root, "z.mp4").exit_code == 1


def test_estimate(tmp_path: Path, footage: list[Path]) -> None:
    """Where every video is looked into, and clips are alike, the sample says what is."""
    found = parsed("estimate", footage[0].parent, "--clips", 1, "-s", "target_fps=5", *ONE_PROCESS)
    assert isinstance(found, dict)
    assert found["videos"] == found["sampled"] == 4
    assert found["clips"]["total"] == 8
    assert found["frames"]["total"] == 8 * 6
    assert found["video_seconds"] == {"total": 8, "error": 0}
    assert found["frames"]["error"] == 0

    for number in range(8):
        make_video(tmp_path / f"{number}.mp4", frames=25 + number, options=X264)
    (tmp_path / "text.mp4").write_text("no")
    said = run("estimate", tmp_path, "--sample", 3, *ONE_PROCESS)
    assert said.exit_code == 0
    assert "±" in said.stdout


def test_estimate_in_money(footage: list[Path]) -> None:
    """Amounts times prices, and no word of what has no price."""
    command = ("estimate", footage[0].parent, "--clips", 1, *ONE_PROCESS)
    prices = ("--price", "cpu_hour=36", "--price", "thousand_puts=5", "--price", "gpu_hour=72")
    found = parsed(*command, *prices, "--gpu-frames-per-second", 10)
    assert isinstance(found, dict)
    costs = {name: amount["total"] for name, amount in found["costs"].items()}
    assert costs == {
        "processors": pytest.approx(found["cpu_seconds"]["total"] / 100),
        "gpus": pytest.approx(found["coded_frames"]["total"] / 10 * 72 / 3600),
        "puts": pytest.approx(found["puts"]["total"] * 5 / 1000),
    }
    # a clip is six objects, a video a note, a batch four documents, and five of its frames
    assert found["puts"]["total"] == pytest.approx(8 * 6 + 6 + 4 + 5)
    assert 0 < found["coded_frames"]["total"] <= 4 * 50

    said = run(*command, "--batch-size", 2)
    assert "not measured" in said.stdout
    assert "cost" not in said.stdout
    for wrong, match in (
        (("gpu_hour=3",), "the GPU's speed is unknown"),
        (("cpu=3",), "give NAME=NUMBER of cpu_hour"),
        (("cpu_hour=-1",), "is not a price"),
    ):
        refused = run(*command, "--price", *wrong)
        assert refused.exit_code == 2
        assert match in " ".join(refused.output.split())


def test_pack(root: Path, tmp_path: Path) -> None:
    command = ("pack", root, TWO.key, tmp_path / "pack")
    first = parsed(*command)
    assert isinstance(first, dict)
    assert (first["clips"], first["parts"], first["parts_written"]) == (8, 1, 1)
    said = run(*command)
    assert said.exit_code == 0
    assert "parts written  0" in said.stdout
    assert open_pack(tmp_path / "pack").verify() == ()


@pytest.mark.parametrize("kind", FORMATS)
def test_export(root: Path, tmp_path: Path, kind: str) -> None:
    if kind == "lance":
        need("lance")
    target = tmp_path / "out"
    said = run("export", root, TWO.key, target, "--as", kind, "--png")
    assert said.exit_code == 0, said.output
    assert "8 clips" in said.stdout
    taken = run("export", root, TWO.key, target, "--as", kind)
    assert taken.exit_code == 1
    assert str(target) in taken.output


@pytest.mark.parametrize(
    ("command", "match"),
    [
        (("extract", "a.mp4", "--root", "{empty}", "-s", "target_fps=fast"), "is not a number"),
        (("extract", "a.mp4", "--root", "{empty}", "-s", "target_res=9"), "HEIGHTxWIDTH"),
        (("extract", "a.mp4", "--root", "{empty}", "-s", "wrong"), "write name=value"),
        (("dry-run", "{empty}", "-s", "encoding=jpeg"), "neither 'lossless' nor a mapping"),
        (("dry-run", "{empty}", "-s", "encoding.codec=gif"), "no codec 'gif'; choose one of jpeg"),
        (("dry-run", "{empty}", "-s", "encoding.level=9"), "an encoding has no 'level'"),
        (
            ("dry-run", "{empty}", "-s", "encoding.codec=jpeg,encoding.codec=webp"),
            "'encoding.codec' is given twice",
        ),
        (("extract", "a.mp4", "--root", "{empty}", "--clips", "some"), "number of seconds"),
        (("extract", "a.mp4", "--root", "{empty}", "--decoder", "magic"), "magic"),
        (("extract", "a/", "--root", "{empty}"), "names no file"),
        (("ls", "x", "--root-option", "key"), "has no `=`"),
        (("estimate", "{empty}"), "nothing to estimate from"),
        (("lineage", "rows", "x", "clips", "b"), "is not one of"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, command: tuple[str, ...], match: str) -> None:
    result = run(*(part.format(empty=tmp_path) for part in command))
    assert result.exit_code == 2
    assert match in " ".join(result.output.split())


def test_it_is_installed_and_says_what_there_is() -> None:
    path = Path(sys.executable).parent / "frames-pipeline"
    said = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
    for name, command in main.commands.items():
        assert command.help
        if command.hidden:
            assert f"  {name} " not in said
            continue
        assert f"  {name} " in said


@pytest.mark.parametrize(("old", "new"), [("plan", "estimate"), ("changes", "dry-run")])
def test_old_names_of_commands(root: Path, footage: list[Path], old: str, new: str) -> None:
    """They do the same, and print the new name on stderr."""
    small = ("--sample", 1, "--clips", 1, *ONE_PROCESS)
    given = (footage[0].parent, *small) if old == "plan" else (root, "-s", "policy=first")
    as_old, as_new = run(old, *given, "--json"), run(new, *given, "--json")
    assert as_old.exit_code == as_new.exit_code == 0
    if old == "plan":  # seconds differ
        assert json.loads(as_old.stdout).keys() == json.loads(as_new.stdout).keys()
    else:
        assert as_old.stdout == as_new.stdout
    assert f"`{old}` is deprecated and goes with 0.3; use `{new}`" in as_old.stderr
    assert "deprecated" not in as_new.stderr


def test_choices_are_those_of_the_registries() -> None:
    """A backend or format is on the command line once it is registered."""
    choices = {
        (name, option.name): tuple(option.type.choices)
        for name, command in main.commands.items()
        for option in command.params
        if isinstance(option.type, click.Choice)
    }
    assert choices["extract", "decoder"] == tuple(DECODERS)
    assert choices["export", "kind"] == tuple(FORMATS)
    for command in ("extract", "estimate", "pack"):
        assert choices[command, "compression"] == tuple(COMPRESSIONS)
    assert choices["recompress", "to"] == tuple(COMPRESSIONS)


def test_extract_with_another_compression(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes the bytes alone; a missing package is named before a video is opened."""
    chosen = ("-s", "policy=uniform,num_frames=3", *ONE_PROCESS)
    [row] = parsed("extract", video, "--root", tmp_path / "zstd", *chosen)
    [raw] = parsed("extract", video, "--root", tmp_path / "none", "--compression", "none", *chosen)
    assert raw["bytes"] > row["bytes"]
    same = ("batch", "clip_id", "signature", "status", "frames")
    assert [raw[name] for name in same] == [row[name] for name in same]
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for command in (
        ("extract", tmp_path / "gone.mp4", "--root", tmp_path / "jpegxl"),
        ("estimate", video.parent),
        ("recompress", tmp_path / "zstd" / "adhoc", "--to", "jpegxl"),
    ):
        options = () if command[0] == "recompress" else ("--compression", "jpegxl")
        refused = run(*command, *options)
        assert refused.exit_code == 2
        assert "install frames-pipeline[encodings]" in refused.stderr
    assert not (tmp_path / "jpegxl").exists()


def commands_of(group: click.Group) -> Iterator[click.Command]:
    """A group's commands, and those of the groups in it."""
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from commands_of(command)


def test_help_is_in_plain_words() -> None:
    """Every option has a help text, and no text leans on words that stand for nouns."""
    riddles = re.compile(r"\b(what|who|whoever|whatever|nobody|those that)\b", re.IGNORECASE)
    commands = list(commands_of(main))
    assert len(commands) > 18
    for command in commands:
        options = [one for one in command.params if isinstance(one, click.Option)]
        for text in [command.help, *(one.help for one in options)]:
            assert text, command.name
            assert not riddles.search(text), (command.name, text)


def test_sql_asks_all_batches_at_once(root: Path, cut: Workspace) -> None:
    """The view over all batches has what each table has, and is written as other tools read it."""
    catalog_batch(BATCH, {"two": TWO}, cut)
    (count,) = parsed("sql", root, "SELECT count(*) AS n, sum(frames) AS f FROM outcomes")
    assert count == {
        "n": 8,
        "f": sum(row["frames"] for row in cut.rows("outcomes", BATCH, part=TWO.key)),
    }
    tables = {row["table"]: row["rows"] for row in parsed("sql", root)}
    assert tables == {"catalog": 8, "clips": 8, "embeddings": 24, "outcomes": 8, "videos": 4}

    written = run(
        "sql", root, "SELECT clip_id, embedding_counts FROM catalog", "-o", root / "a.csv"
    )
    assert written.exit_code == 0
    assert len((root / "a.csv").read_text().splitlines()) == 9

    cut.batches.retire(BATCH)
    assert parsed("sql", root) == []


def test_sql_that_cannot_be_asked(root: Path) -> None:
    nonsense = run("sql", root, "SELECT nothing FROM catalogue")
    assert nonsense.exit_code == 2
    assert "the tables are clips, embeddings, outcomes, videos" in nonsense.stderr
    assert "must end in .parquet or .csv" in run("sql", root, "SELECT 1", "-o", "a.txt").stderr


def test_what_would_be_made_anew(root: Path) -> None:
    """Frames and embeddings are there; another signature, measures and captions are not."""
    told = parsed(
        *("dry-run", root, "-s", "target_fps=2,target_res=24x32"),
        *("-s", "policy=middle,target_res=24x32"),
        *("--embeddings", "provider=perceptual"),
        *("--embeddings", "provider=perceptual,name=second"),
        *("--quality", '{"provider": "technical", "black_level": 30}', "--measure"),
    )
    kept: dict[tuple[str, str], tuple[int, int, bool]] = {}
    middle: dict[tuple[str, str], tuple[int, int, bool]] = {}
    for row in told:
        done = kept if row["signature"] == TWO.key else middle
        is_measured = row["cpu_seconds"] is not None
        done[row["step"], row["name"]] = (len(row["to_do"]), row["frames"], is_measured)
    assert kept == {
        ("frames", ""): (0, 0, True),
        ("embeddings", ""): (0, 0, True),
        ("embeddings", "second"): (8, 24, True),
        ("quality", ""): (8, 24, True),
    }
    rows = dict.fromkeys([*kept][1:], (8, 8, False))  # of frames that are not there yet
    assert middle == {("frames", ""): (8, 8, True)} | rows

    shown = run("dry-run", root, "-s", "policy=first", "--embeddings", "provider=perceptual")
    assert shown.stdout.split("\n")[0].split()[:3] == ["batch", "step", "signature"]
    assert "unknown" in shown.stdout
    for wrong, why in [
        ("model=a", "has no provider"),
        ("provider=gone", "no embedding provider"),
    ]:
        refused = run("dry-run", root, "--embeddings", wrong)
        assert refused.exit_code == 2
        assert why in refused.output


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ((), {}),
        (("endpoint_url=http://h:1",), {"endpoint_url": "http://h:1"}),
        (("anon=true", "port=90"), {"anon": True, "port": 90}),
        (
            ('client_kwargs={"endpoint_url": "http://h", "verify": false}',),
            {"client_kwargs": {"endpoint_url": "http://h", "verify": False}},
        ),
        (
            ("client_kwargs.endpoint_url=http://h", "client_kwargs.verify=false"),
            {"client_kwargs": {"endpoint_url": "http://h", "verify": False}},
        ),
        (
            ('client_kwargs={"a": 1}', "client_kwargs.b=2", "config_kwargs.retries.max_attempts=3"),
            {"client_kwargs": {"a": 1, "b": 2}, "config_kwargs": {"retries": {"max_attempts": 3}}},
        ),
        (
            ("secret=1e5", "key=0012", "token=null"),
            {"secret": "1e5", "key": "0012", "token": "null"},
        ),
        (("a=x=y", "b=", "c=NaN"), {"a": "x=y", "b": "", "c": "NaN"}),
    ],
)
def test_storage_options(given: tuple[str, ...], values: dict[str, object]) -> None:
    """Options are plain text, JSON, or nested by dots; a secret always stays text."""
    option = click.Option(["--root-option"])
    assert storage_options(click.Context(main), option, given) == values


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (("client_kwargs={'endpoint_url': 'http://h'}",), "'client_kwargs' is not valid JSON"),
        (('client_kwargs={"a": 1',), r"write it as JSON, or client_kwargs\.NAME=VALUE"),
        (("a=[1",), "'a' is not valid JSON"),
        (("a=1", "a.b=2"), "'a' has a value already, so it cannot contain 'b'"),
        (("a.b=1", "a=2"), "'a' is given twice"),
        (("a.b=1", "a.b=2"), r"'a\.b' is given twice"),
        (("a.=1",), r"'a\.' is not a name"),
        ((".a=1",), r"'\.a' is not a name"),
        (("=1",), "'' is not a name"),
        (("a",), "'a' has no `=`"),
    ],
)
def test_storage_options_that_mean_nothing(given: tuple[str, ...], match: str) -> None:
    """Invalid options are refused by name, on the command line too."""
    option = click.Option(["--root-option"])
    with pytest.raises(click.BadParameter, match=match):
        storage_options(click.Context(main), option, given)
    for name, command in (("root", ("ls", "x")), ("source", ("estimate", "x"))):
        result = run(*command, *(f"--{name}-option={text}" for text in given))
        assert result.exit_code == 2
        assert re.search(match, " ".join(result.output.split()))


def test_nested_options_reach_the_store(s3: S3) -> None:
    """fsspec takes nested options, such as an endpoint as an option of the client."""
    FrameStore(s3.url, s3.options).objects.put("batches/b.json", b"{}")
    plain = (f"--root-option=key={s3.key}", f"--root-option=secret={s3.secret}")
    nested = f"--root-option=client_kwargs.endpoint_url={s3.endpoint}"
    as_json = "--root-option=client_kwargs=" + json.dumps({"endpoint_url": s3.endpoint})
    for option in (nested, as_json):
        (row,) = parsed("ls", s3.url, *plain, option)
        assert row["batch"] == "b"
