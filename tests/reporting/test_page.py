"""A run's page: it says what the run did, whatever the run's texts are, and is well formed."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from reporting.read_page import Page, colours, contrast, pixels
from torch.utils.data import TensorDataset

import atentdsl
from atentdsl.api import reporting
from atentdsl.cli import run as command
from atentdsl.codegen import generate
from atentdsl.recipe import shipped
from atentdsl.reporting import page, pictures
from atentdsl.reporting.page import Reported
from atentdsl.runtime import datasets, lock
from atentdsl.runtime.directory import RunDirectory
from atentdsl.runtime.errors import CannotReport, CheckpointBroken, NotARunDirectory, StorageFailed
from atentdsl.testing import recipes

HOSTILE = "<script>alert('`1`')</script>\"'&amp;{{ 7 * 7 }}]]>--><b>"


@pytest.fixture(scope="module")
def text(finished, tmp_path_factory):
    return atentdsl.report(finished, out=tmp_path_factory.mktemp("out") / "page.html").page.read_text()


@pytest.fixture(scope="module")
def read(text):
    return Page(text)


def told(path):
    """What the page is made of, without images."""
    return reporting._read(RunDirectory.open(path))


def reread(path, **options):
    return Page(atentdsl.report(path, **{"examples": False, **options}).page.read_text())


def warned(found):
    return [
        item.text for section in found.root.all("section", aria_labelledby="warnings") for item in section.all("li")
    ]


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_it_is_well_formed_and_needs_nothing_from_elsewhere(text, read):
    """Every element is closed: `Page` sees to it. Links stay in the page, images are data, scripts there are none."""
    assert text.startswith("<!doctype html>\n")
    assert not list(read.root.all("script")) + list(read.root.all("link")) + list(read.root.all("iframe"))
    for element in read.root.all():
        for name, value in element.attributes.items():
            assert not name.startswith("on"), name
            assert name not in ("src", "href") or value.startswith(("data:image/png;base64,", "#")), value
            assert name not in ("action", "srcset", "xlink:href", "style"), name
    assert not re.search(r"(https?:)?//[a-z]", text)
    assert not re.search(r"@import|url\(", text)
    (policy,) = read.root.all("meta", http_equiv="Content-Security-Policy")
    assert policy.attributes["content"].startswith("default-src 'none';")
    names = [element.attributes["id"] for element in read.root.all() if "id" in element.attributes]
    assert len(names) == len(set(names))
    for element in read.root.all():
        assert set(element.attributes.get("aria-labelledby", "").split()) <= set(names)


def test_drawings_have_words_and_images_too(read):
    drawings = [svg for svg in read.root.all("svg") if svg.attributes.get("aria-hidden") != "true"]
    assert len(drawings) == 3
    for svg in drawings:
        assert [one.tag for one in svg.inside[:2]] == ["title", "desc"]
        assert all(one.text for one in svg.inside[:2])
    assert all(image.attributes["alt"] for image in read.root.all("img"))
    scrolled = [one for one in read.root.all("div") if "scroll" in one.attributes.get("class", "").split()]
    assert scrolled
    assert all(one.attributes["tabindex"] == "0" and one.attributes["aria-label"] for one in scrolled)
    assert {table for one in scrolled for table in one.all("table")} == set(read.root.all("table"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(text, scheme):
    css = Page(text).root.all("style")
    chosen = colours(next(iter(css)).text)[scheme]
    pairs = [
        (front, back) for front in ("ink", "muted", "clean", "robust", "good", "bad") for back in ("page", "panel")
    ]
    for front, back in [*pairs, ("warning-ink", "warning")]:
        assert contrast(chosen[front], chosen[back]) >= 4.5, (front, back)
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_same_run_gives_the_same_bytes(finished, text, tmp_path, monkeypatch):
    monkeypatch.chdir(finished.path.parent)
    for number, run in enumerate((finished, finished.path, Path(finished.path.name))):
        torch.manual_seed(number)
        assert atentdsl.report(run, out=tmp_path / "page.html").page.read_text() == text
    assert str(tmp_path) not in text


def test_it_says_what_the_evaluation_says(finished, read):
    found = finished.evaluation
    rows = {row[0]: row for row in read.rows("evaluation")}

    def percent(share):
        return f"{round(1000 * share) / 10} %"

    assert rows["clean"][1] == percent(found["clean_accuracy"])
    for name in ("pgd-3,restarts=2", "fgsm"):
        attack = found["attacks"][name]
        low, high = map(percent, attack["robust_interval"])
        assert rows[name][1:3] == [percent(attack["robust_accuracy"]), f"{low} to {high}"]
        assert rows[name][4] == str(attack["attacked"])
    settings = rows["pgd-3,restarts=2"][5]
    assert settings == (
        "norm linf, radius 0.15, steps 3, step size 0.125, loss cross_entropy, start uniform, restarts 2"
    )
    assert rows["fgsm"][5].endswith("after pgd-3,restarts=2")
    assert rows["worst"][1] == percent(found["worst"][0]["robust_accuracy"])
    assert "On 359 test images of digits; seed 0, batch 512, precision float32;" in read.section("evaluation").text
    assert "exact, at 95 %" in read.section("evaluation").text


def test_it_says_what_was_trained_and_what_it_costs(finished, read):
    section = read.section("trained")
    kinds = [(row[0], row[1]) for row in read.rows("trained")]
    for slot, kind in (
        ("proposal kernel of attack", "langevin"),
        ("projection of attack", "linf_ball"),
        ("averaging of attack", "exponential"),
        ("outer optimizer", "sgd"),
        ("objective", "cross_entropy"),
    ):
        assert (slot, kind) in kinds
    assert "from the start corner it climbs cross_entropy by 3 moves of langevin" in section.text
    recipe = next(iter(section.all("pre"))).text
    assert recipe == (finished.path / "recipe.toml").read_text()
    assert "moves = 3" in recipe
    # 3 moves, an evaluation before (2 units) and one after (3); 3 each as usually written; merged 2 + 3 + 3 + 3.
    assert ["as usually written", "18"] in read.rows("trained")
    assert ["literal", "15"] in read.rows("trained")
    assert ["compiled", "11"] in read.rows("trained")


def test_every_recipe_is_told_by_all_of_its_words():
    for name in shipped.names():
        recipe = atentdsl.load(name)
        values = recipe.values()
        parts = [(part.slot.split(" of ")[0], part.kind) for part in page.composition.parts(recipe)]
        words = " ".join(page.composition.sentences(recipe))
        for sampler in values["sampler"]:
            slots = {"proposal kernel": "kernel", "averaging": "averaging", "start": "start"}
            kinds = {slot: sampler[key] for slot, key in slots.items() if sampler["kind"] == "chain"}
            assert {(slot, table["kind"]) for slot, table in kinds.items()} <= set(parts), name
            assert f"`{sampler['name']}`" in words
            assert f"{sampler['moves']} move" in words
            assert all(f"`{table['kind']}`" in words for table in [*kinds.values(), *sampler.get("projection", [])])
        assert ("smoothing" in values) == ("smoothing" in dict(parts))
        assert parts[-1] == ("outer optimizer", values["optimizer"]["kind"])


def test_samplers_inside_each_other_are_told_in_their_order():
    _, outer, inner, update = page.composition.sentences(atentdsl.load("entropy_sgd_atent"))
    assert outer == (
        "The sampler `weights` perturbs the weights: from the start `zero` it descends the signal of the batch, held "
        "by the coupling `l2`, by 5 moves of `langevin`. Its points are weighted by `exponential`, and the signal "
        "is the squared distance to their average."
    )
    assert inner.startswith(
        "Inside it, at each of its points, the sampler `attack` perturbs each image: from the start"
    )
    assert update.endswith("of the objective, `cross_entropy`, at these points as they are weighted.")


@given(recipes())
@settings(max_examples=8)
def test_every_drawn_recipe_has_a_page(recipe):
    checked = atentdsl.load(recipe)
    made = {"data": "digits", "model": "mlp"}
    found = Reported(
        "a/b",
        "interrupted",
        0,
        checked,
        checked.resolved,
        generate(checked),
        made,
        [],
        {},
        {},
        None,
        None,
        "",
        "none",
        (),
    )
    read = Page(page.page(found))
    assert next(iter(read.root.all("h1"))).text == checked.name


def places(svg):
    """The numbers' axis and the epochs' axis of a drawing as functions of places, from two ticks each."""
    texts = [one for one in svg.all("text") if re.fullmatch(r"[-+.e0-9]+", one.text)]
    rows = [(float(t.attributes["y"]), float(t.text)) for t in texts if t.attributes["text-anchor"] == "end"]
    columns = [(float(t.attributes["x"]), float(t.text)) for t in texts if t.attributes["text-anchor"] == "middle"]
    return [lambda at, ticks=ticks: np.interp(at, *zip(*sorted(ticks), strict=True)) for ticks in (rows, columns)]


def test_curves_are_where_the_metrics_say(finished, read):
    lines = [json.loads(line) for line in (finished.path / "metrics.jsonl").read_text().splitlines()]
    accuracies, loss, rate = [svg for svg in read.root.all("svg") if svg.attributes.get("class") == "drawing"]
    expected = {
        "curve clean": [100 * line["validation"]["clean_accuracy"] for line in lines],
        "curve robust": [100 * line["validation"]["robust_accuracy"] for line in lines],
        "curve clean training": [100 * line["training"]["clean_accuracy"] for line in lines],
        "curve robust training": [100 * line["training"]["robust_accuracy"] for line in lines],
    }
    drawn = [(accuracies, style, numbers) for style, numbers in expected.items()]
    drawn += [(loss, "curve plain", [line["loss"] for line in lines])]
    drawn += [(rate, "curve plain", [line["learning_rate"] for line in lines])]
    for svg, style, numbers in drawn:
        number_at, epoch_at = places(svg)
        (path,) = svg.all("path", class_=style)
        points = [tuple(map(float, point.split())) for point in path.attributes["d"][1:].split("L")]
        assert [epoch_at(x) for x, _ in points] == [1, 2]
        assert [number_at(y) for _, y in points] == pytest.approx(numbers, abs=0.002 * max(map(abs, numbers)) + 0.05)
        (mark,) = svg.all("text", class_="kept")
        (line,) = svg.all("path", class_="kept")
        best = 1 + int(np.argmax(expected["curve robust"]))
        assert mark.text == f"kept: epoch {best}"
        assert epoch_at(float(line.attributes["d"].split()[0][1:])) == best


def test_images_show_the_perturbation_and_what_the_network_answers(finished, read):
    held = datasets.load("digits").test()
    cards = list(read.section("images").all("li"))
    assert len(cards) == 10
    (scale,) = re.findall(r"white \+([0-9.]+)", read.section("images").text)
    scale = float(scale)
    assert scale == pytest.approx(0.15, abs=1e-3)
    network = finished.model.eval()
    for number, card in enumerate(cards):
        label, clean, attacked = [one.text for one in card.all("dd")]
        place = int(re.search(r"image (\d+)", label)[1])
        x, y = held.take(slice(place, place + 1))
        assert label.split()[0] == str(number) == str(int(y)), "the first image of each class"
        assert place == held.y.tolist().index(number)
        was, delta, z = map(pixels, card.all("img"))
        assert np.array_equal(was, np.round(255 * x[0, 0].double().numpy()))
        change = (delta - 128) / 127 * scale
        assert np.abs(was / 255 + change - z / 255).max() < 0.5 / 255 + 0.5 / 255 + scale / 127
        assert np.abs(change).max() <= 0.15 + 1e-3
        for said, image in ((clean, x.double()), (attacked, torch.from_numpy(z / 255)[None, None])):
            with torch.no_grad():
                logits = network(image.float())[0].double().numpy()
            shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            kind, confidence, mark = re.fullmatch(r"(\d+), ([0-9.]+) % .(right|wrong)", said).groups()
            assert int(kind) == shares.argmax() or shares.max() < 0.5
            assert float(confidence) == pytest.approx(100 * shares.max(), abs=0.06 if image.dtype is x.dtype else 2)
            assert (mark == "right") == (int(kind) == number)


def test_the_same_grey_is_no_change():
    x = torch.rand(1, 4, 4)
    z = x.clone()
    z[0, 1, 2] += 0.25
    z[0, 3, 3] -= 0.125

    class Image:
        attributes = {"src": pictures.difference(x, z, 0.25)}  # noqa: RUF012

    expected = np.full((4, 4), 128.0)
    expected[1, 2], expected[3, 3] = 255, 64  # 128 - 63.5, to even
    assert np.array_equal(pixels(Image), expected)
    Image.attributes = {"src": pictures.difference(x, x, 0.0)}
    assert np.array_equal(pixels(Image), np.full((4, 4), 128.0))


def test_images_of_ones_own_in_colour_and_classes_by_any_name(tmp_path):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16, 3))
    x = torch.rand(60, 3, 4, 4)
    data = TensorDataset(x, torch.arange(60) % 3)
    overrides = ["optimizer.epochs=1", "evaluate.attacks=['pgd-1']", "evaluate.norm='l2'", "evaluate.radius=0.5"]
    run = atentdsl.train("sgd", overrides=overrides, model=network, data=data, out=tmp_path, max_steps=1, quiet=True)
    found = reread(run, examples=True, data=data)
    cards = list(found.section("images").all("li"))
    assert len(cards) == 10
    first, delta, _ = map(pixels, cards[0].all("img"))
    assert np.array_equal(first, np.round(255 * x[0].double().permute(1, 2, 0).numpy()))
    assert delta.shape == (4, 4, 3)
    assert "Measured on validation images" in " ".join(warned(found))
    assert "told to stop after 1 steps" in " ".join(warned(found))
    left_out = atentdsl.report(run.path, model=network).left_out
    assert left_out == ("no images: the run trained on images of the caller's own, and none are passed as `data`",)
    left_out = atentdsl.report(run.path, data=data).left_out
    assert left_out == ("no images: the run trained a network of the caller's own, and it is not passed as `model`",)
    shown, _ = reporting._examples(RunDirectory.open(run.path), told(run.path), network, data, "cpu", None, True)
    named = attrs.evolve(told(run.path), examples=shown, labels=(HOSTILE, "cat", "dog"))
    read = Page(page.page(named))
    assert not list(read.root.all("script"))
    labels = [next(iter(card.all("dd"))).text for card in read.section("images").all("li")]
    assert labels[0].startswith(HOSTILE)
    assert labels[1].startswith("cat")
    assert any(HOSTILE in image.attributes["alt"] for image in read.root.all("img"))


def test_no_text_of_a_run_becomes_markup(made):
    """Whoever sends a run's directory can write anything into its files, and call them what they like."""
    evaluation = json.loads((made / "evaluation.json").read_text())
    attack = evaluation["attacks"]["fgsm"]
    changes = {
        "warnings": [HOSTILE],
        "split": HOSTILE,
        "data": HOSTILE,
        "attacks": {HOSTILE: {**attack, "norm": HOSTILE, "start": {HOSTILE: HOSTILE}}},
        "sanity": [{"check": HOSTILE, "passed": None, HOSTILE: HOSTILE}],
        "curves": {HOSTILE: {"verdict": HOSTILE}},
    }
    change(made / "evaluation.json", **changes)
    (made / "<script>x.json").write_text(json.dumps(evaluation))
    manifest = json.loads((made / "manifest.json").read_text())
    versions = {HOSTILE: HOSTILE}
    entry = {"at": HOSTILE, "step": 3, "command": [HOSTILE], "device": HOSTILE, "versions": versions}
    hostile = dict.fromkeys(("started", "seed", "device", "model", "data"), HOSTILE)
    hostile |= {"command": ["atentdsl", HOSTILE], "versions": versions, "hardware": {"cpu": HOSTILE, "gpus": [HOSTILE]}}
    hostile |= {
        "policy": {HOSTILE: 1},
        "resumed": [entry],
        "init": {"path": HOSTILE},
        "data_sha256": {HOSTILE: HOSTILE},
    }
    numbers = {"images": 1, "abstained": 0, "certified": []}
    certified = dict.fromkeys(("sigma", "n0", "n", "alpha", "seed", "split", "data"), HOSTILE) | numbers
    found = attrs.evolve(
        told(made),
        manifest={**manifest, **hostile},
        run=HOSTILE,
        no_examples=HOSTILE,
        resolved=HOSTILE,
        status=HOSTILE,
        notes=[HOSTILE],
        certificates={HOSTILE: certified},
    )
    read = Page(page.page(found))
    plain = Page(page.page(told(made)))
    assert not list(read.root.all("script")) + list(read.root.all("b"))
    tags = {element.tag for element in read.root.all()}
    assert tags <= {element.tag for element in plain.root.all()} | {"code", "caption"}
    assert read.root.text.count("alert(") >= 25
    assert "{{ 7 * 7 }}" in read.root.text
    assert "<script>x.json" in read.section("evaluation").text
    for element in read.root.all():
        for name, value in element.attributes.items():
            assert "<script>" not in value or name == "aria-label", name


def test_all_that_is_wrong_with_the_figures_stands_on_top(made):
    assert warned(reread(made)) == []
    change(made / "evaluation.json", warnings=["steps of `fgsm` help the defender"])
    other = json.loads((made / "evaluation.json").read_text())
    (made / "other.json").write_text(json.dumps({**other, "warnings": ["noise is stronger"], "split": "validation"}))
    (made / "none.json").write_text("[]")
    (made / "folder.json").mkdir()
    (made / "broken.json").write_text("{")
    (made / "recipe.toml").write_text((made / "recipe.toml").read_text() + "# changed\n")
    found = warned(reread(made))
    assert found[0] == "Its recipe.toml is not the one it began with: the sha256 differs."
    assert found[1] == "steps of fgsm help the defender"
    assert found[2] == "other.json: noise is stronger"
    assert found[3].startswith("other.json: Measured on validation images")
    assert len(found) == 4


def test_checks_certificates_interruptions_and_rollbacks_are_told(made):
    checks = [{"check": "noise", "passed": False, "standing": [4]}, {"check": "transfer", "passed": None}]
    change(made / "evaluation.json", sanity=checks, curves={"folder": "c", "steps": {"verdict": "settled"}})
    folder = made / "certification/sigma-0.12"
    folder.mkdir(parents=True)
    one = {"radius": 0.12, "certified": 9, "accuracy": 0.9, "low": 0.8, "high": 0.95}
    summary = {"sigma": 0.12, "n0": 10, "n": 100, "alpha": 0.001, "images": 10, "split": "test", "data": "digits"}
    (folder / "summary.json").write_text(json.dumps({**summary, "abstained": 1, "seed": 0, "certified": [one]}))
    proven = {"method": "interval bounds", "norm": "linf", "images": 10, "split": "test", "data": "digits"}
    other = {"radius": 0.05, "certified": 7, "accuracy": 0.7, "low": 0.4, "high": 0.9}
    (made / "certification/intervals-test").mkdir()
    (made / "certification/intervals-test/summary.json").write_text(json.dumps({**proven, "certified": [other]}))
    versions = {"torch": "2.9"}
    entry = {"at": "2026-01-02", "step": 1234, "command": ["a", "run"], "device": "cpu", "versions": versions}
    change(made / "manifest.json", resumed=[entry])
    lines = [json.loads(line) for line in (made / "metrics.jsonl").read_text().splitlines()]
    lines[1]["rollbacks"] = 2
    (made / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = reread(made)
    assert ["noise", "failed", "standing 4"] in found.rows("evaluation")
    assert ["transfer", "could not be made", ""] in found.rows("evaluation")
    assert ["0.12", "90.0 %", "80.0 % to 95.0 %"] in found.rows("evaluation")
    assert ["0.05", "70.0 %", "40.0 % to 90.0 %"] in found.rows("evaluation")
    assert "Certified by randomised smoothing, on 10 test images of digits, 1 abst" in found.section("evaluation").text
    assert "Certified by interval bounds, on 10 test images of digits." in found.section("evaluation").text
    assert {"l2 radius", "linf radius"} <= {head for row in found.rows("evaluation") for head in row}
    assert "Accuracy against steps: verdict settled." in found.section("evaluation").text
    assert ["2026-01-02", "1,234", "a run", "cpu; torch 2.9"] in found.rows("made")
    assert "went back to the beginning of an epoch 2 times" in found.section("training").text
    assert "not interrupted" not in found.root.text


def test_an_unfinished_run_has_what_is_there_and_says_so(made):
    (made / "evaluation.json").unlink()
    best = made / "checkpoints/best.safetensors"
    lines = (made / "metrics.jsonl").read_text()
    first = lines.splitlines()[0]
    (made / "metrics.jsonl").write_text(f"{first}\n" + lines.splitlines()[1][:40])
    found = reread(made, examples=True)
    assert warned(found)[0].startswith("This run is not finished. It stopped after 40 steps, 1 of 2 epochs;")
    assert len(list(found.section("images").all("img"))) == 30
    assert found.section("evaluation").text.split() == ["Evaluation", "Not", "evaluated", "yet."]
    best.unlink()
    held = lock.hold(made)
    (made / "metrics.jsonl").unlink()
    report = atentdsl.report(made)
    lock.release(held)
    assert report.left_out == ("no images: no checkpoint is kept yet",)
    found = Page(report.page.read_text())
    assert warned(found)[0].startswith("This run is not finished. A process is at work on it")
    assert "No epoch was finished yet." in found.section("training").text
    assert not [svg for svg in found.root.all("svg") if svg.attributes.get("class") == "drawing"]
    (made / "diverged.safetensors").touch()
    assert warned(reread(made))[0].startswith("This run is not finished. Training diverged after 40 steps")


@pytest.mark.parametrize(
    ("file", "content", "error", "code"),
    [
        ("manifest.json", "{", NotARunDirectory, 2),
        ("module.py", None, NotARunDirectory, 2),
        ("recipe.toml", "schema = 1", atentdsl.RecipeError, 2),
        ("evaluation.json", "{", CannotReport, 2),
        ("evaluation.json", '{"clean_accuracy": 1, "attacks": {}}', CannotReport, 2),
        ("evaluation.json", '{"clean_accuracy": "all", "attacks": {}, "n": 3, "split": "test"}', CannotReport, 2),
        ("evaluation.json", '{"clean_accuracy": 1, "attacks": [], "n": 3, "split": "test"}', CannotReport, 2),
        ("certification/s/summary.json", '{"sigma": 0.1}', CannotReport, 2),
        ("started", "yesterday", CannotReport, 2),
        ("metrics.jsonl", "{\n{}\n", CannotReport, 2),
        ("metrics.jsonl", '{"epoch": 1, "step": []}\n', CannotReport, 2),
        ("checkpoints/best.safetensors", "damage", CheckpointBroken, 6),
        ("checkpoints/best.safetensors", None, CheckpointBroken, 6),
    ],
)
def test_a_damaged_run_is_refused_and_nothing_is_written(made, capsys, file, content, error, code):
    if file == "started":
        change(made / "manifest.json", started=content)
    else:
        (made / file).parent.mkdir(parents=True, exist_ok=True)
        (made / file).unlink() if content is None else (made / file).write_text(content)
    before = sorted(made.rglob("*"))
    with pytest.raises(error):
        atentdsl.report(made, examples=False)
    assert command(["report", str(made), "--no-examples"]) == code
    assert "internal" not in capsys.readouterr().err
    assert sorted(made.rglob("*")) == before


def test_the_command_ends_with_the_file_and_writes_over_nothing_else(made, tmp_path, capsys, monkeypatch):
    assert command(["report", str(made), "--no-examples"]) == 0
    out = capsys.readouterr()
    assert (out.out, out.err) == (f"{made / 'report.html'}\n", "")
    assert command(["report", str(made), "--out", str(tmp_path / "page.html"), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}\n"
    assert len(list((tmp_path / "page.tensorboard").iterdir())) == 1
    assert command(["report", str(made), "--no-examples", "--out", str(tmp_path / "page.html")]) == 0
    assert "None are shown: they were not asked for." in (tmp_path / "page.html").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text("mine")
    for taken, why in ((mine, "and no report"), (tmp_path, "is a folder"), (mine / "page.html", "mine.toml")):
        assert command(["report", str(made), "--no-examples", "--out", str(taken)]) == 5
        assert why in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert command(["report", str(made), "--no-examples", "--out", str(tmp_path / "deep/er.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'deep/er.html'}\n"
    assert command(["report", str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err
    (made / "report.html").unlink()
    (made / "report.html").symlink_to(mine)
    with pytest.raises(StorageFailed):
        atentdsl.report(made, examples=False)
    assert mine.read_text() == "mine"


def test_what_is_missing_for_images_is_said_and_the_page_is_made(made, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    recipe = (made / "recipe.toml").read_text()
    (made / "recipe.toml").write_text(recipe.replace('name = "mlp"', 'name = "no_such_module_here:net"'))
    assert command(["report", str(made), "--no-user-code"]) == 0
    out = capsys.readouterr()
    assert out.err.startswith("no images: code no_such_module_here:net cannot be used: its code is not run")
    assert "None are shown: code no_such_module_here:net cannot be used" in Path(out.out.strip()).read_text()
    (made / "recipe.toml").write_text(recipe)
    manifest = json.loads((made / "manifest.json").read_text())
    change(made / "manifest.json", data_sha256={**manifest["data_sha256"], "test": "0"})
    assert atentdsl.report(made).left_out == ("no images: the test images found here are not those of the run",)


def test_a_page_is_written_where_the_run_cannot_be_written(made, tmp_path):
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    atentdsl.report(made, examples=False, out=tmp_path / "page.html")
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    assert os.listdir(tmp_path / "page.tensorboard")
