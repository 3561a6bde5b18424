"""The playground's page (Streamlit). Start it with scripts.deploy.playground.

Whatever comes from a user, a file or a model reaches the page escaped, or as plain text in a table.
"""

import sys
from html import escape
from pathlib import Path
from threading import Lock

import streamlit as st
from spacy.language import Language

from scripts.common.cli import UserError
from scripts.deploy.answers import (
    MAX_UPLOAD_MB,
    MAX_WORDS,
    SUFFIXES,
    Answer,
    Variant,
    ask,
    check_text,
    find_variants,
    group_answers,
    label_upload,
    leave_one_out,
)
from scripts.deploy.labelling import load as load_pipeline

SHOWN = 5  # labels of each answer
COLUMNS = 3
EXAMPLE = "Shares in the phone maker fall after its new handset is delayed"
STYLE = """<style>
.block-container { padding-top: 3rem; }
.answer { --good: light-dark(#0a6c74, #59c6c4); --bad: light-dark(#b8431a, #f0895f); }
.answer { line-height: 1.5; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.answer h2 { margin: 0; padding: 0; font-size: 1rem; }
.answer .label { font-size: 1.45rem; color: var(--good); }
.answer .odd { color: var(--bad); }
.answer .costs { opacity: .7; margin-bottom: .6rem; }
.answer .bar { display: grid; grid-template-columns: 7.5rem 1fr 2.6rem; gap: .5rem; align-items: center; }
.answer .bar, .answer .costs { font-size: .85rem; }
.answer .bar i { display: block; height: .55rem; border-radius: 2px; background: var(--good); min-width: 1px; }
.answer .bar span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.answer .words { margin-top: .7rem; font-size: .95rem; }
.answer .words span { border-radius: 3px; padding: .08em 0; }
</style>"""


@st.cache_resource(show_spinner="Loading the variants", max_entries=32)
def load(variant: Variant) -> tuple[Language, Lock]:
    """Load a pipeline once for all visitors. The lock: its memory zones take one visitor at a time.

    A variant that was trained again is another one; the oldest leave when there are 32.
    """
    components = Path("scripts/components.py")
    return load_pipeline(str(variant.path), components if components.is_file() else None), Lock()


def load_all(variants: list[Variant]) -> dict[str, tuple[Variant, Language, Lock]]:
    """All pipelines that can be loaded; a note on the page for each that cannot."""
    loaded = {}
    for variant in variants:
        try:
            loaded[variant.name] = (variant, *load(variant))
        except UserError as error:
            st.text(f"Skipped: {error}")
    return loaded


def format_words(pieces: list[tuple[str, float]]) -> str:
    """The text as HTML, a word the stronger coloured the more depends on it."""
    strongest = max((abs(change) for _, change in pieces), default=0) or 1
    spans = []
    for piece, change in pieces:
        strength = abs(change) / strongest
        colour = "11, 131, 136" if change > 0 else "210, 88, 43"
        word = piece.rstrip()
        style = f"background: rgba({colour}, {0.6 * strength:.2f})" if strength > 0.05 else ""
        spans.append(f'<span style="{style}" title="{change:+.3f}">{escape(word)}</span>{escape(piece[len(word) :])}')
    return f'<div class="words">{"".join(spans)}</div>'


def format_answer(variant: Variant, answer: Answer, is_odd: bool, words: list[tuple[str, float]]) -> str:
    """One variant's answer as HTML."""
    ranked = sorted(answer.cats.items(), key=lambda item: -item[1])
    bars = "".join(
        f'<div class="bar"><span title="{escape(label)}">{escape(label)}</span>'
        f'<i style="width: {score:.1%}"></i><span>{score:.2f}</span></div>'
        for label, score in ranked[:SHOWN]
    )
    rest = f'<div class="costs">and {len(ranked) - SHOWN} more labels</div>' if len(ranked) > SHOWN else ""
    return (
        f'<div class="answer"><h2>{escape(variant.name)}</h2>'
        f'<div class="label{" odd" if is_odd else ""}">{escape(answer.label)}</div>'
        f'<div class="costs">{answer.milliseconds:.1f} ms · {variant.megabytes:.1f} MB</div>'
        f"{bars}{rest}{format_words(words) if words else ''}</div>"
    )


def show_text_tab(loaded: dict[str, tuple[Variant, Language, Lock]]) -> None:
    """A text, and what every variant says about it."""
    text = st.text_area("Text", EXAMPLE, height=110)
    with_words = st.toggle("Show which words mattered", value=True)
    try:
        check_text(text)
    except UserError as error:
        st.warning(str(error))
        return
    answers, words = {}, {}
    for name, (_, nlp, lock) in loaded.items():
        with lock:
            answers[name] = ask(nlp, text)
            if with_words:
                best = max(answers[name].cats, key=answers[name].cats.__getitem__)
                words[name] = leave_one_out(nlp, text, best)
    groups = group_answers(answers)
    if len(groups) > 1:
        # st.text, not Markdown: labels come from the data
        st.text(
            "⚠ The variants disagree. " + "; ".join(f"{label}: {', '.join(names)}" for label, names in groups.items())
        )
    elif len(answers) > 1:
        st.text(f"All {len(answers)} variants say {next(iter(groups))}.")
    most = next(iter(groups))
    for start in range(0, len(answers), COLUMNS):
        for column, name in zip(st.columns(COLUMNS), list(answers)[start : start + COLUMNS], strict=False):
            variant, answer = loaded[name][0], answers[name]
            with column.container(border=True):
                st.html(format_answer(variant, answer, answer.label != most, words.get(name, [])))
    if with_words:
        st.caption(
            "Each word is left out in turn: green where the probability of the most probable label falls without it, "
            f"orange where it rises. Only the first {MAX_WORDS} words."
        )


def show_file_tab(loaded: dict[str, tuple[Variant, Language, Lock]]) -> None:
    """A file of texts, labelled by one variant."""
    name = st.selectbox("Variant", list(loaded))
    kinds = [suffix.removeprefix(".") for suffix in SUFFIXES]
    file = st.file_uploader(f"Texts: a table or JSON Lines with `text`, at most {MAX_UPLOAD_MB} MB", type=kinds)
    if file is None:
        return
    # The page is drawn anew at every click: what has been labelled is kept.
    key, kept = (name, file.file_id), st.session_state.setdefault("labelled", {})
    if key not in kept:
        _, nlp, lock = loaded[name]
        bar = st.progress(0.0)
        try:
            with lock:
                found = label_upload(nlp, file.name, file.getvalue(), bar.progress)
        except UserError as error:
            st.text(f"⚠ {error}")
            return
        finally:
            bar.empty()
        kept.clear()
        kept[key] = found
    labelled, rows = kept[key]
    st.text(f"Labelled by {name}. The first {len(rows)}:")
    st.dataframe(rows)
    source = Path(file.name)
    st.download_button("Download all", labelled, f"{source.stem}-labelled{source.suffix}", "application/octet-stream")


def main(training: Path, project: Path = Path(".")) -> None:
    """Draw the page."""
    st.set_page_config(page_title="Playground", page_icon="🏷", layout="wide")
    st.html(STYLE)
    st.title("What does each variant say?", anchor=False)
    variants, missing = find_variants(training, project)
    loaded = load_all(variants)
    if not loaded:
        st.warning("No variant is trained. Train one: python -m spacy project run bow")
        return
    one, many = st.tabs(["A text", "A file"])
    with one:
        show_text_tab(loaded)
    with many:
        show_file_tab(loaded)
    if missing:
        st.caption("Not trained yet, so not here: " + ", ".join(missing))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
