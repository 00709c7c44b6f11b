"""The page itself, in Gradio: what stands where, and what happens when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import gradio as gr
from PIL import Image

from datamodules.errors import DataError
from datamodules.media.clips import count_frames, media_at, read_clip
from datamodules.reading.likely_mistakes import likely_mistakes
from datamodules.regions.drawing import region_colour
from datamodules.types import Turn
from experiments.demo.answering import Watched, answer, choose, segmented, watch
from experiments.demo.looks import coloured, css, data_url, heat_over
from experiments.demo.request import LONGEST_QUESTION, Request, as_command, as_python, as_record
from lightning_modules.region_module import RegionModule

if TYPE_CHECKING:
    from datamodules.regvid.masklets import Masklets

MOST_FRAMES = 20_000
"""Of a video: it is decoded from end to end to find out how many it has."""
COLOURS = 32

Value: TypeAlias = dict[str, Any]
"""Of the canvas: see `canvas.js`."""
EMPTY: Value = {"picture": None, "frame": 0, "regions": []}


def build(
    module: RegionModule, checkpoint: str, examples: Sequence[Path], segmenter: Masklets | None = None
) -> gr.Blocks:
    """The page of a model.

    Args:
        module: It answers one request at a time; others wait.
        checkpoint: What to call it in the code to take away.
        examples: Images and videos to begin with.
        segmenter: Makes masks of clicks, which stay clicks without one.
    """
    page = _Page(module, checkpoint, segmenter)
    blocks: gr.Blocks = gr.Blocks(title="Region understanding", analytics_enabled=False, delete_cache=(3600, 3600))
    with blocks:
        gr.Markdown("# Region understanding\nMark regions in an image, or on a frame of a video, and ask about them.")
        turns, watched = gr.State([]), gr.State(None)
        with gr.Row():
            with gr.Column(scale=1):
                media = gr.File(label="Image or video", file_types=["image", "video"], elem_id="media", height=110)
                if examples:
                    gr.Examples([[str(path)] for path in examples], media, label="Examples")
                frame = gr.Slider(0, 1, 0, step=1, label="Frame to mark on", visible=False, elem_id="frame")
                canvas = gr.HTML(EMPTY, elem_id="canvas", **_canvas())
            with gr.Column(scale=1):
                chat = gr.Chatbot(label="Conversation", height=240, buttons=[], elem_id="chat")
                question = gr.Textbox(
                    label="Question",
                    placeholder="what is <region0>",
                    lines=2,
                    max_length=LONGEST_QUESTION,
                    elem_id="question",
                )
                with gr.Row():
                    asked = gr.Button("Ask", variant="primary", elem_id="ask")
                    again = gr.Button("New conversation", elem_id="again")
                with gr.Accordion("Options to choose from", open=False):
                    options = gr.Textbox(label="One a line", lines=3, elem_id="options")
                    shares = gr.Label(label="Their probabilities", visible=False, elem_id="shares")
                with gr.Column(visible=False, elem_id="heat") as heat:
                    gr.Markdown("### Where the model sees each region")
                    moment = gr.Slider(0, 1, 0, step=1, label="Frame of the clip", elem_id="moment")
                    large = gr.Image(label="All regions", interactive=False, buttons=[], height=300, elem_id="large")
                    strip = gr.Gallery(
                        label="Region by region", height="auto", object_fit="contain", buttons=[], elem_id="strip"
                    )
        with gr.Accordion("The same elsewhere", open=False):
            command = gr.Code(label="Command line", language="shell", elem_id="command")
            program = gr.Code(label="Python", language="python", elem_id="program")
            record = gr.Code(label="region_jsonl", language="json", elem_id="record")

        seen = [heat, moment, large, strip, watched]
        texts = [command, program, record]
        opened = [canvas, frame, turns, chat, shares, *seen]
        media.change(page.open, media, opened, show_progress="hidden")
        frame.release(page.turn_to, [media, canvas, frame], canvas, show_progress="hidden")
        canvas.change(page.marked, [media, canvas, turns], [canvas, turns, chat], show_progress="hidden")
        again.click(lambda: ([], []), None, [turns, chat])
        question_asked = [asked.click, question.submit]
        for event in question_asked:
            event(
                page.ask,
                [media, canvas, turns, question, options],
                [chat, turns, question, shares, *seen, *texts],
                concurrency_limit=1,
                concurrency_id="model",
            )
        moment.change(page.show_moment, [watched, moment], large, show_progress="hidden")
    blocks.queue(max_size=16)
    return blocks


def _canvas() -> dict[str, Any]:
    here = files(__package__)
    return {
        "html_template": here.joinpath("canvas.html").read_text(),
        "css_template": here.joinpath("canvas.css").read_text(),
        "js_on_load": here.joinpath("canvas.js").read_text(),
        "colours": [css(region_colour(number)) for number in range(COLOURS)],
    }


class _Page:
    """What happens; every method takes and returns values of components."""

    def __init__(self, module: RegionModule, checkpoint: str, segmenter: Masklets | None = None) -> None:
        self.module = module
        self.checkpoint = checkpoint
        self.segmenter = segmenter

    def open(self, path: str | None) -> tuple[Any, ...]:
        """A new picture or video: nothing is marked, and nothing was said."""
        nothing = ([], [], gr.update(visible=False), *_unseen())
        if path is None:
            return EMPTY, gr.update(visible=False), *nothing
        with _told():
            count = count_frames(media_at(path))
            if count > MOST_FRAMES:
                raise DataError(f"{Path(path).name} has {count} frames, {MOST_FRAMES} are the most")
            value = {**EMPTY, "picture": _picture(path, 0)}
        slider = gr.update(visible=count > 1, maximum=max(count - 1, 1), value=0)
        return value, slider, *nothing

    def turn_to(self, path: str, value: Value, frame: int) -> Value:
        """Another frame to mark on."""
        with _told():
            return {**value, "frame": int(frame), "picture": _picture(path, int(frame))}

    def marked(self, path: str | None, value: Value, turns: list[Any]) -> tuple[Any, Any, Any]:
        """What was said of regions that are no longer the same is forgotten; one more region changes none."""
        shown = gr.skip()
        if self.segmenter is not None and path is not None:
            with _told():
                found = [segmented(self.segmenter, path, region) for region in value["regions"]]
            shown = {**value, "regions": found} if found != value["regions"] else shown
        regions = [_place(region) for region in value["regions"]]
        known = [_place(region) for region in turns[-1]["regions"]] if turns else []
        if regions[: len(known)] == known:
            return shown, gr.skip(), gr.skip()
        return shown, [], []

    def ask(
        self, path: str | None, value: Value, turns: list[Any], question: str, options: str | None
    ) -> Iterator[tuple[Any, ...]]:
        """The answer as it grows, then where the model looks, and the request as code."""
        regions = value["regions"]
        with _told():
            if path is None:
                raise DataError("nothing is open: drop an image or a video")
            if not question.strip():
                raise DataError("the question is empty")
            earlier = tuple(Turn(turn["question"], turn["answer"]) for turn in turns)
            choices = tuple(line.strip() for line in (options or "").splitlines() if line.strip())
            request = Request(Path(path), tuple(regions), earlier, question.strip(), choices)
            sample = request.sample
            for doubt in likely_mistakes(sample):
                gr.Info(f"perhaps a mistake: {doubt}")
            said, shares = "", gr.update(visible=False)
            rest = [gr.skip()] * (1 + 5 + 3)
            if choices:
                said, likely = choose(self.module, request)
                shares = gr.update(value=likely, visible=bool(likely))
            else:
                for said in answer(self.module, request):
                    yield self._chat(turns, question, said, len(regions)), gr.skip(), gr.skip(), *rest
            turns = [*turns, {"question": request.question, "answer": said, "regions": regions}]
            chat = self._chat(turns, None, "", len(regions))
            code = as_command(sample, self.checkpoint), as_python(sample, self.checkpoint), as_record(sample)
            yield chat, turns, "", shares, *self._seen(watch(self.module, request)), *code

    def show_moment(self, watched: Watched | None, moment: int) -> Image.Image | None:
        """All regions on one frame."""
        if watched is None:
            return None
        time = min(int(moment), len(watched.pixels) - 1)
        return heat_over(watched.pixels[time], watched.looked, time, list(range(len(watched.looked.embeddings))))

    def _seen(self, watched: Watched | None) -> tuple[Any, ...]:
        if watched is None:
            return _unseen()
        frames, regions = watched.looked.frames, range(len(watched.looked.embeddings))
        strip = [
            (heat_over(watched.pixels[time], watched.looked, time, [region]), f"[{region}] frame {frame}")
            for region in regions
            for time, frame in enumerate(frames)
        ]
        slider = gr.update(maximum=max(len(frames) - 1, 1), value=0, visible=len(frames) > 1)
        gallery = gr.update(value=strip, columns=max(2, len(frames)))
        return gr.update(visible=True), slider, self.show_moment(watched, 0), gallery, watched

    @staticmethod
    def _chat(turns: list[Any], question: str | None, answer: str, regions: int) -> list[dict[str, str]]:
        said = [(turn["question"], turn["answer"] or "(no words)") for turn in turns]
        said += [] if question is None else [(question.strip(), answer or "…")]
        return [
            {"role": role, "content": coloured(text, regions)}
            for pair in said
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]


def _unseen() -> tuple[Any, ...]:
    return gr.update(visible=False), gr.skip(), None, [], None


def _place(region: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in region.items() if key != "name"}


def _picture(path: str, frame: int) -> dict[str, Any]:
    pixels = read_clip(media_at(path), 1, (frame,)).pixels[0]
    return {"src": data_url(pixels), "width": pixels.shape[1], "height": pixels.shape[0]}


@contextmanager
def _told() -> Iterator[None]:
    """What cannot be used is said on the page in one line."""
    try:
        yield
    except DataError as error:
        raise gr.Error(str(error), duration=None, print_exception=False) from None
