"""The ablation: planned in order, trained once, scored, compared in words; and the shipped rows are fair."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import eval.studies.ablation
from eval.__main__ import main
from eval.report.files import write_document
from eval.report.sections import to_markdown
from eval.studies.ablation import BASE, REFERENCE, SECOND_SEED, TITLES, Cost, plan_ablation, train_ablation
from eval.studies.ablation_report import ablation_document, compare, sentence
from inpaint.checkpoint import read_notes
from inpaint.errors import CheckpointError, ConfigError
from inpaint.models.presets import vary_preset
from inpaint.train.config import AcrRunConfig, read_config
from inpaint.train.monitor import Progress
from tests.eval.make_reports import from_plain, make_report, make_row

SHIPPED = Path(__file__).parents[2] / "configs" / "ablation"
COMMON = """
photos = ["${DATA}/val/images"]
photo_size = 64
size = 64
batch_size = 2
images = 4
learning_rate = 1e-3
ema_decay = 0.5
device = "cpu"
threads = 1
log_every = 1
"""
TINY = {
    "mae_mixed": f"""
kind = "mae"
name = "prior"
preset = "mae-tiny"
out = "../runs/prior"
{COMMON}""",
    "base": f"""
kind = "acr"
name = "base"
preset = "acr-tiny"
out = "../runs/base"
prior = false
discriminator_width = 4
{COMMON}
[weights]
perceptual = 0
adversarial = 0
l1_hole = 10
[variant]
attention = "none"
""",
    "mixed_prior": """
base = "base.toml"
name = "mixed"
out = "../runs/mixed"
prior = true
init_checkpoint = "../runs/base/base.safetensors"
prior_checkpoint = "../runs/prior/prior.safetensors"
[variant]
attention = "prior"
""",
    "contextual": """
base = "mixed_prior.toml"
name = "contextual"
out = "../runs/contextual"
[variant]
attention = "contextual"
""",
}


@pytest.fixture
def configs(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA", str(data))
    return write(tmp_path / "configs", TINY)


def write(folder: Path, texts: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def run(data: Path, configs: Path, *arguments: object) -> Result:
    words = ["ablation", "--data", data, "--configs", configs, "--device", "cpu", *arguments]
    return CliRunner().invoke(main, [str(word) for word in words])


# -- plan ------------------------------------------------------------------------------------------------


def test_what_a_run_starts_from_comes_before_it(configs):
    runs = plan_ablation(configs)
    assert [run.name for run in runs] == ["mae_mixed", BASE, "contextual", REFERENCE]
    assert [run.name for run in runs if run.is_row] == [BASE, "contextual", REFERENCE]


def test_only_some_rows_and_what_they_need(configs):
    (configs / "contextual.toml").write_text(TINY["contextual"].replace("mixed_prior", "base"))
    assert [run.name for run in plan_ablation(configs, ["contextual"])] == [BASE, "contextual"]


def test_another_budget_gets_folders_of_its_own_and_leaves_prior_and_base_alone(configs):
    usual = {run.name: run for run in plan_ablation(configs)}
    other = {run.name: run for run in plan_ablation(configs, images=2)}
    assert other[REFERENCE].config.images == 2
    assert other[REFERENCE].checkpoint.parent.name == "mixed-2"
    for name in ("base", "mae_mixed"):
        assert other[name] == usual[name]


@pytest.mark.parametrize(
    ("change", "rows", "error", "message"),
    [
        ({}, ["layer7"], ConfigError, "got row layer7; .* has base, contextual, mixed_prior"),
        ({"base": TINY["base"].replace("acr-tiny", 3 * "x") + "\nsurprise = 1"}, [], ConfigError, "surprise"),
        (
            {"lost": 'base = "base.toml"\nout = "../runs/lost"\ninit_checkpoint = "gone.safetensors"'},
            [],
            CheckpointError,
            "lost starts from .*gone.safetensors, which is missing",
        ),
        (
            {"base": f'init_checkpoint = "../runs/mixed/mixed.safetensors"\n{TINY["base"]}'},
            [],
            CheckpointError,
            "base starts from .*mixed.safetensors, which is missing",
        ),
    ],
)
def test_plans_that_cannot_be(configs, change, rows, error, message):
    write(configs, change)
    with pytest.raises(error, match=message):
        plan_ablation(configs, rows)


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no config of a row"):
        plan_ablation(tmp_path)


# -- train and score -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_whole_ablation_in_small(data, configs, tmp_path, monkeypatch, any_weights):
    reports = [tmp_path / f"report{suffix}" for suffix in (".md", ".json", ".html", ".csv")]
    result = run(data, configs, *(word for path in reports for word in ("--out", path)))
    assert result.exit_code == 0, result.output
    text = reports[0].read_text()
    assert text in result.output and text.startswith("# Ablation")
    assert "Differences from mixed_prior" in text and "- contextual: " in text
    assert "Cao, Dong, Fu" in text and "| mae_mixed | 4 |" in text and "CPU, 1 thread" in text
    assert f"Command: python -m eval ablation --data DATA --configs {configs}" in text
    plain = json.loads(reports[1].read_text())
    scored = from_plain(plain["report"])
    assert [row.name for row in scored.rows] == [BASE, "contextual", REFERENCE] and scored.n == 3
    assert set(plain["against mixed_prior"]) == {BASE, "contextual"}
    assert read_notes(tmp_path / "runs/mixed/mixed.safetensors")["started_from"] == (
        "adapter + alphas + generator + positions + prior from base.safetensors, new: alphas; "
        "prior from prior.safetensors"
    )
    assert reports[2].read_text().count("contextual") > 2 and reports[3].read_text().count("\n") >= 4

    # what is trained is not trained again
    monkeypatch.setattr(eval.studies.ablation, "fit", lambda *_: pytest.fail("trained twice"))
    again = run(data, configs, "--rows", "contextual", "--limit", 2)
    assert again.exit_code == 0, again.output
    assert "| contextual | 2 |" in again.output and "Differences from" not in again.output


def test_a_stopped_ablation_goes_on(data, configs):
    class Killed(BaseException):
        """Stands for the power going off."""

    def stop(name: str, done: int, total: int) -> None:
        if name == "base" and done == 4:
            raise Killed

    plan = plan_ablation(configs, ["contextual"])
    with pytest.raises(Killed):
        train_ablation(plan, stop)
    order = []
    train_ablation(plan, lambda name, done, total: order.append(name))
    assert list(dict.fromkeys(order))[-1] == "contextual" and all(run.is_finished() for run in plan)
    assert all(run.cost().minutes > 0 for run in plan)


def test_a_folder_of_another_run_is_not_taken_for_this_one(configs):
    plan = plan_ablation(configs)
    base = next(run for run in plan if run.name == BASE)
    config = base.config
    assert isinstance(config, AcrRunConfig)
    config.out.mkdir(parents=True)
    noted = {"learning_rate": 0.5, "threads": 64, "weights": {"l1_hole": 10, "of_old": 1}, "photos": ["far"]}
    (config.out / "config.json").write_text(json.dumps(noted))
    with pytest.raises(ConfigError, match=r"holds a run with learning_rate = 0\.5, .* has 0\.001; delete"):
        train_ablation(plan)
    (config.out / "config.json").write_text(json.dumps(noted | {"learning_rate": 1e-3}))
    assert not base.is_finished()  # another machine and an older key do not matter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "nobody"], "got row nobody"),
        (["--out", "report.pdf"], "report.pdf"),
        (["--configs", "nowhere"], "no config of a row in nowhere"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(data, configs, monkeypatch, arguments, message):
    monkeypatch.setattr(eval.studies.ablation, "fit", lambda *_: pytest.fail("trained"))
    result = run(data, configs, *arguments)
    assert result.exit_code == 2 and message in result.output
    assert sum(line.startswith("error: ") for line in result.output.splitlines()) == 1


# -- words -----------------------------------------------------------------------------------------------


def verdicts(report, row: str) -> dict[str, str]:
    return {found.column.key: found.verdict for found in compare(report, row)}


def test_a_pair_is_better_worse_or_within_the_noise():
    report = make_report(
        make_row(REFERENCE, (20, 21, 22), l1=0.1),
        make_row("ahead", (21, 22, 23), l1=0.1, fid=40),
        make_row("behind", (19, 20, 21), l1=0.05),
        make_row("both", (25, 21, 18)),
    )
    assert verdicts(report, "ahead") == {
        "psnr": "better", "hole_psnr": "better", "l1": "within sampling error", "fid": "no interval",
    }  # fmt: skip
    behind = verdicts(report, "behind")
    assert behind["psnr"] == "worse" and behind["l1"] == "better"
    assert verdicts(report, "both")["psnr"] == "within sampling error"
    words = sentence("ahead", compare(report, "ahead"))
    assert words == "ahead: better in PSNR, hole PSNR; within sampling error in L1; no interval in FID."


def test_what_another_seed_does_as_well_is_seed_variation():
    rows = [
        make_row(REFERENCE, (20, 21, 22), fid=40),
        make_row("mixed_prior_again", (20.5, 21.5, 22.5), fid=42),
        make_row("near", (20.7, 21.7, 22.7), fid=42.5),
        make_row("far", (20.8, 21.8, 22.8), fid=43.5),
    ]
    report = make_report(*rows)
    near, far = verdicts(report, "near"), verdicts(report, "far")
    assert near["psnr"] == near["fid"] == "within seed variation"
    assert far["psnr"] == "better" and far["fid"] == "no interval"
    text = to_markdown(ablation_document(report, ()))
    assert "within seed variation in PSNR" in text and "mixed_prior_again:" not in text


def test_a_row_of_two_seeds_is_compared_by_its_mean():
    report = make_report(
        make_row(REFERENCE, (20, 21, 22), fid=40),
        make_row("other", (22, 21, 21), fid=36),
        make_row("other_again", (24, 21, 22), fid=34),
    )
    found = {each.column.key: each.value for each in compare(report, "other")}
    assert found["psnr"].value == pytest.approx((3 + 0 - 0.5) / 3) and found["fid"].value == -5
    assert found["psnr"].low == pytest.approx(-0.5) and found["psnr"].high == pytest.approx(3)


def test_the_report_holds_the_published_differences_and_the_cost(tmp_path):
    report = make_report(
        make_row(REFERENCE, (20, 21, 22)),
        make_row("no_attention", (19, 20, 21)),
        make_row("random_prior", (21, 22, 23)),
        make_row("contextual", (25, 21, 17.5)),
    )
    costs = (Cost("mae_mixed", 44_000, 60.0, "CPU"), Cost("no_attention", 100, 1.5, "CPU"))
    text = to_markdown(ablation_document(report, costs))
    assert "| no_attention | -0.17 | -0.004 | +1.35 | +0.004 |" in text
    assert "| random_prior | -0.12 | -0.003 | +0.76 | +0.004 |" in text
    assert "took 2 minutes, after 60 minutes for the priors" in text
    write_document(ablation_document(report, costs), tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["costs"][1]["minutes"] == 1.5


# -- the shipped rows ------------------------------------------------------------------------------------


def test_the_shipped_rows_share_all_but_what_they_are_about(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA", str(tmp_path))
    paths = [path for path in SHIPPED.glob("*.toml") if not path.stem.startswith("mae")]
    configs: dict[str, Any] = {path.stem: read_config(path) for path in paths}
    again = {name for name in configs if name.endswith(SECOND_SEED)}
    assert set(configs) - again == set(TITLES)
    reference = configs[REFERENCE]
    about = {
        BASE: {"preset", "init_checkpoint", "prior_checkpoint", "seed", "images", "learning_rate",
               "warmup_images", "ema_decay"},
        "no_prior": {"preset", "prior_checkpoint"},
        "random_prior": {"prior_checkpoint"},
        REFERENCE: set(),
    }  # fmt: skip
    for name, config in configs.items():
        names = {field.name for field in dataclasses.fields(config)} - {"name", "out"}
        differing = {key for key in names if getattr(config, key) != getattr(reference, key)}
        first = name.removesuffix(SECOND_SEED)
        expected = about.get(first, {"variant"}) | ({"seed"} if name in again else set())
        assert differing == expected, name
        varied = vary_preset(config.preset, **dataclasses.asdict(config.variant))
        assert (varied.prior is None) == (config.prior_checkpoint is None)
        made_by_base = configs[BASE].out / "base.safetensors"
        assert name == BASE or config.init_checkpoint == made_by_base
        assert math.isclose(config.images, reference.images) or name == BASE


def test_progress_names_what_is_trained(data, configs, monkeypatch):
    told = []
    monkeypatch.setattr(
        eval.studies.ablation, "fit", lambda config, tell: tell(Progress(3, config.images, 1.0, {}))
    )
    train_ablation(plan_ablation(configs), lambda *what: told.append(what))
    assert ("mae_mixed", 0, 4) in told and ("mae_mixed", 3, 4) in told
