"""The commands and the Python of the README and of docs/, at small sizes."""

import re
import shlex
from pathlib import Path

import pytest

import lightdan
from lightdan import registry
from lightdan.cli import functions, lightning, scans
from lightdan.cli.catalogue import COMMANDS
from lightdan.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SMALL = ["--data.init_args.shape=4", "--data.init_args.num_configurations=1000"]
SMALL += ["--data.init_args.batch_size=100", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
LEARNED = "runs/ising-one-temperature/version_0/measurements/couplings/hamiltonian.json"


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text):
    """Yield the `lightdan` and `python -c` commands of a page, as lists of words."""
    for block in blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part.removeprefix("srun ").strip(), comments=True)
                if words[:1] == ["lightdan"] or words[:2] == ["python", "-c"]:
                    yield [re.sub(r"^\$\{.*\}$", "1.0", word) for word in words]


TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
ALL = sorted({tuple(words) for text in TEXTS.values() for words in commands(text)})
FITS = [words[1:] for words in ALL if words[0] == "lightdan" and words[1] in ("fit", "test", "predict")]
OTHERS = [words[1:] for words in ALL if words[0] == "lightdan" and COMMANDS[words[1]].function]
SCANS = [words[1:] for words in ALL if words[:2] == ("lightdan", "scan")]


@pytest.fixture
def parse_only(monkeypatch):
    """End the commands of LightningCLI when their options are parsed."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(lightning.CLI, "instantiate_classes", lambda self: None)
    monkeypatch.setattr(lightning.CLI, "_run_subcommand", lambda self, name: None)


@pytest.mark.parametrize("words", [w for w in FITS if len(w) > 3], ids=" ".join)
def test_options_of_a_fit_are_accepted(words, parse_only):
    """Check commands with options; tests/cli/test_commands.py runs every configuration."""
    assert main(words) == 0


def test_configurations_exist():
    named = set(re.findall(r"configs/\w+/\w+\.yaml", "".join(TEXTS.values())))
    assert {ROOT / name for name in named} == set(CONFIGS)


@pytest.mark.parametrize("words", SCANS, ids=" ".join)
def test_scans_start_fits_that_are_accepted(words, parse_only, monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(scans, "work_off", lambda runs, processes: started.extend(runs) or [])
    monkeypatch.setattr(scans, "compare", lambda *arguments: None)
    assert main([*words, "--output", str(tmp_path)]) == 0
    assert started
    assert main(started[0].command[3:]) == 0


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_options_of_other_commands_are_accepted(words):
    function = registry.import_object(COMMANDS[words[0]].function)
    options, _ = functions.split(function, words[1:])
    functions.make_parser(words[0], function).parse_args(options)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Return an empty folder with the configurations of the repository."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_python(page):
    for block in blocks(TEXTS[page], "python"):
        exec(compile(block, page, "exec"), {})


@pytest.mark.slow
def test_commands_after_the_main_run(folder):
    """Test, predict and sample with a small fit, then load its checkpoint in Python."""
    main_run = ("lightdan", "fit", "--config", "configs/ising/made.yaml")
    followers = [words for words in commands(TEXTS["docs/commands.md"]) if words[1] != "fit"]
    assert main(["fit", *main_run[2:], *SMALL]) == 0
    done = set()
    for _, name, *options in followers:
        if name in ("test", "predict"):
            options += SMALL
        elif name == "sample":
            options[options.index("--num") + 1] = "100"
        else:
            continue
        assert main([name, *options]) == 0
        done.add(name)
    assert done == {"test", "predict", "sample"}
    assert (folder / "samples.h5").exists()
    run_python("docs/commands.md")


def test_explicit_hamiltonians(folder):
    """Simulate Hamiltonians from the command line and from Python."""
    learned = folder / LEARNED
    learned.parent.mkdir(parents=True)
    learned.write_text(lightdan.edwards_anderson((4, 4)).to_json())
    for words in commands(TEXTS["docs/couplings.md"]):
        if words[0] == "python":
            exec(words[2].replace("(16, 16)", "(4, 4)"), {})
        elif words[1] == "simulate":
            words[words.index("--num") + 1] = "100"
            assert main(words[1:]) == 0
    made = {"glass.h5", "potts.h5", "learned-T=2.h5", "learned-T=2.5.h5"}
    assert made <= {path.name for path in folder.iterdir()}
    run_python("docs/couplings.md")


@pytest.mark.parametrize("page", ["README.md", "docs/data.md"])
def test_python(page, folder, capsys):
    run_python(page)
    if page == "README.md":
        assert float(capsys.readouterr().out.split()[-1]) > 0.9


def test_every_python_block_is_run():
    tested = {"README.md", "docs/commands.md", "docs/couplings.md", "docs/data.md"}
    assert {page for page, text in TEXTS.items() if "```python" in text} == tested


@pytest.mark.parametrize("page", PAGES, ids=TEXTS)
def test_links_and_figures_exist(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for link in links:
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve()
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]
        if target.suffix == ".png":
            assert target.stat().st_size <= 60_000
