"""The command: its verbs, and how it ends. Every error is one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Final

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError  # typer exports no base of its errors

from planner.cli.compile import compile_bundle
from planner.cli.explain import explain
from planner.cli.init import init
from planner.cli.pareto import pareto
from planner.cli.profile import profile
from planner.cli.report.verb import report
from planner.cli.run import run
from planner.cli.schema import schema
from planner.cli.sensitivity import sensitivity
from planner.cli.solve import solve
from planner.cli.validate import validate
from planner.cli.verify import verify
from specs.errors import AnswerIsNo, InputError, NotKnown, TierplanError

INTERRUPTED: Final = 130
INPUT_IS_WRONG: Final = 2
ENVIRONMENT_FAILED: Final = 3

app = typer.Typer(
    name="planner",
    help="Decide what of an application runs on the device, at the base station and in the cloud; then run it.",
    epilog="Exit codes: 0 yes, 1 the answer is no, 2 the input is wrong, 3 the environment failed, 4 not known within "
    "the limits, 130 interrupted.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it with rich takes longer than all the rest of starting
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"planner {version('tierplan')}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. May stand anywhere on the line.")] = False,
    show_version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Version.")] = False,
) -> None:
    pass


app.command("init", short_help="Write a small application to start from.")(init)
app.command("validate", short_help="Is what the files say right?")(validate)
app.command("profile", short_help="Measure what every component costs, or one model.")(profile)
app.command("solve", short_help="Choose what runs where, with a proof.")(solve)
app.command("verify", short_help="Recompute a plan's numbers a second way.")(verify)
app.command("explain", short_help="Why here and not there: what each choice costs.")(explain)
app.command("pareto", short_help="All plans that none beats in latency and cost.")(pareto)
app.command("sensitivity", short_help="How far inputs may change before the plan does.")(sensitivity)
app.command("compile", short_help="Assemble what a plan runs: a bundle.")(compile_bundle)
app.command("run", short_help="Run a bundle; measured beside predicted.")(run)
app.command("report", short_help="One HTML page on a plan and its run.")(report)
app.command("schema", short_help="JSON Schemas of the files.")(schema)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: the process's own). Returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if arguments is None:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = app(args=[a for a in given if a != "--debug"], prog_name="planner", standalone_mode=False)
        sys.stdout.flush()
        if result == INTERRUPTED:  # typer turns an interruption into this code
            return _end(False, INTERRUPTED, "interrupted")
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _end(debug, INTERRUPTED, "interrupted")
    except NoArgsIsHelpError as error:
        typer.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return INPUT_IS_WRONG
    except ClickException as error:
        return _end(debug, INPUT_IS_WRONG, f"error: {_one_line(error.format_message())} (see --help)")
    except InputError as error:
        return _end(debug, error.exit_code, *(f"error: {_one_line(str(issue))}" for issue in error.issues))
    except AnswerIsNo as error:
        return _end(debug, error.exit_code, f"no: {_one_line(str(error))}")
    except NotKnown as error:
        return _end(debug, error.exit_code, f"not known: {_one_line(str(error))}")
    except TierplanError as error:
        return _end(debug, error.exit_code, f"error: {_one_line(str(error))}")
    except BrokenPipeError:
        # The reader went away; what is left in the buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _end(debug, ENVIRONMENT_FAILED)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _end(debug, ENVIRONMENT_FAILED, f"error: {_one_line(what)}")
    except Exception as error:  # the last line of defence: a mistake of ours, said in one line
        if _interrupted(error):
            return _end(debug, INTERRUPTED, "interrupted")
        text = f"error: a mistake in tierplan: {type(error).__name__}: {_one_line(str(error))}"
        return _end(debug, ENVIRONMENT_FAILED, f"{text} (run again with --debug for the traceback, and report it)")


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interruption is behind `error`: a module that was just being imported turns it into another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(debug: bool, code: int, *lines: str) -> int:
    """Say how it ended; must be called while the exception is handled."""
    if debug:
        import traceback

        traceback.print_exc()
    for line in lines:
        print(line, file=sys.stderr)
    return code


def _one_line(text: str) -> str:
    """On one line, and without control characters that could drive the terminal."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
