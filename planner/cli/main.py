"""The command: its verbs, and how it ends. Every error is one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Final

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError  # typer exports no base of its errors

from planner.cli.output import Format, emit, take_emitted
from planner.cli.verbs import VERBS, add_verb
from specs.errors import AnswerIsNo, InputError, Issue, NotKnown, TierplanError

INTERRUPTED: Final = 130
INPUT_IS_WRONG: Final = 2
ENVIRONMENT_FAILED: Final = 3
MOST_ISSUES: Final = 60
"""Told to people; nobody reads more."""
READER_GONE: Final = 128 + signal.SIGPIPE
"""As a shell says of a process that SIGPIPE ended."""


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"planner {version('tierplan')}")
        raise typer.Exit


def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. May stand anywhere on the line.")] = False,
    show_version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Version.")] = False,
) -> None:
    pass


def application(arguments: Sequence[str]) -> typer.Typer:
    """The command with the verb that `arguments` ask for; with all of them where they ask for none."""
    app = typer.Typer(
        name="planner",
        help="Decide what of an application runs on the device, at the base station and in the cloud; then run it.",
        epilog="Exit codes: 0 yes, 1 the answer is no, 2 the input is wrong, 3 the environment failed, 4 not known "
        "within the limits, 130 interrupted, 141 the reader of stdout went away.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: drawing it with rich takes longer than all the rest of starting
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    asked = next((word for word in arguments if not word.startswith("-")), "")
    for verb in (asked,) if asked in VERBS else VERBS:
        add_verb(app, verb)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (default: the process's own). Returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = given[: given.index("--")] if "--" in given else given  # what follows belongs to another command
    debug = "--debug" in own
    if arguments is None:
        signal.signal(signal.SIGTERM, _interrupt)
    take_emitted()
    try:
        called = [a for a in own if a != "--debug"] + given[len(own) :]
        result = application(called)(args=called, prog_name="planner", standalone_mode=False)
        sys.stdout.flush()
        if result == INTERRUPTED:  # typer turns an interruption into this code
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except NoArgsIsHelpError as error:
        typer.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return INPUT_IS_WRONG
    except BaseException as error:
        if _reader_is_gone(error):
            return _leave(debug)
        code, word, issues = _verdict(error)
        return _end(debug, own, code, word, issues)


def _verdict(error: BaseException) -> tuple[int, str, tuple[Issue, ...]]:
    """The exit code of `error`, the word its lines begin with, and what is to be said."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, OSError):
        error = error.__context__  # a broken pipe of another kind, which typer took for stdout
    if isinstance(error, typer.Abort) or _interrupted(error):
        return INTERRUPTED, "", (Issue("interrupted"),)
    if isinstance(error, ClickException):
        return (
            INPUT_IS_WRONG,
            "error: ",
            (Issue(error.format_message().replace("Value error, ", ""), None, _see(error)),),
        )
    if isinstance(error, InputError):
        return error.exit_code, "error: ", error.issues
    if isinstance(error, TierplanError):
        word = "no: " if isinstance(error, AnswerIsNo) else "not known: " if isinstance(error, NotKnown) else "error: "
        return error.exit_code, word, (Issue(str(error)),)
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return ENVIRONMENT_FAILED, "error: ", (Issue(what),)
    # The last line of defence: a mistake of ours, said in one line.
    text = f"a mistake in tierplan: {type(error).__name__}: {error}"
    return (
        ENVIRONMENT_FAILED,
        "error: ",
        (Issue(text, None, "run again with --debug for the traceback, and report it"),),
    )


def _see(error: ClickException) -> str:
    """The way out of a line that cannot be read: the help of its verb."""
    context = getattr(error, "ctx", None)
    said = f"see {context.command_path} --help" if context else "see --help"
    infra = context is not None and any("--infra" in p.opts for p in context.command.params)
    return f"{said}; the infrastructure goes with --infra" if infra and "extra argument" in error.message else said


def _reader_is_gone(error: BaseException) -> bool:
    """Whether stdout is a pipe that nobody reads any more. Typer turns the first sign of it into a SystemExit."""
    if not isinstance(error, (BrokenPipeError, SystemExit)):
        return False
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):  # stdout is closed, or no file at all
        return False


def _leave(debug: bool) -> int:
    """The reader went away: what is left in the buffer must not fail once more at exit."""
    if debug:
        import traceback

        traceback.print_exc()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interruption is behind `error`: a module that was just being imported turns it into another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(debug: bool, given: Sequence[str], code: int, word: str, issues: Sequence[Issue]) -> int:
    """Say how it ended; must be called while the exception is handled."""
    if debug:
        import traceback

        traceback.print_exc()
    fmt = _format(given)
    if fmt is not Format.table and not take_emitted():
        from planner.cli.results import ErrorResult, located

        try:
            result = ErrorResult(exit_code=code, issues=tuple(located(issue) for issue in issues))
            emit(result.dump(), fmt, lambda _: None)
        except BrokenPipeError:
            return _leave(debug)
    for issue in issues[:MOST_ISSUES]:
        print(f"{word}{_one_line(str(issue))}", file=sys.stderr)
    if (more := len(issues) - MOST_ISSUES) > 0:
        print(f"{word}and {more:,} more issues; --format json gives them all", file=sys.stderr)
    return code


def _format(given: Sequence[str]) -> Format:
    """The format asked for on a command line that may be wrong otherwise."""
    for option, value in zip(given, [*given[1:], ""], strict=True):
        name, equals, attached = option.partition("=")
        asked = attached if equals else value
        if name in ("--format", "-f") and asked in list(Format):
            return Format(asked)
    return Format.table


def _one_line(text: str) -> str:
    """On one line, and without control characters that could drive the terminal."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
