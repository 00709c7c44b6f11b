"""The moving squares as VideoRefer-Bench D and Q and as VideoRefer's training file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from moving_squares import FRAMES, HEIGHT, WIDTH, Squares, save_picture, save_video, squares

VIDEOS = [f"rLlzmcp3J6{number}_0:01:09.633_0:01:14.333.mp4" for number in range(3)]
FOLDERS = ("DAVIS/JPEGImages/480p/aerobatics", "MeViS/valid_u/JPEGImages/0a7a3629", "DAVIS/JPEGImages/480p/car-race")
TYPES = ("Basic Questions", "Sequential Questions", "Relationship Questions")
SAMPLED = range(0, FRAMES, 2)


def write_videorefer_bench_d(root: Path) -> None:
    """`VideoRefer-Bench-D.json` and `Panda-70M-part/`: each of the three squares of three videos."""
    records: list[dict[str, Any]] = []
    for number, video in enumerate(VIDEOS):
        scene = squares(number)
        save_video(root / "Panda-70M-part" / video, scene.frames)
        for square, colour in enumerate(scene.colours):
            records.append(
                {
                    "id": len(records),
                    "video": video,
                    "caption": f"a {colour} square",
                    "frame_idx": str(SAMPLED[1]),
                    "annotation": [masks(scene, square)],
                }
            )
    (root / "VideoRefer-Bench-D.json").write_text(json.dumps(records))


def write_videorefer_bench_q(root: Path) -> None:
    """`VideoRefer-Bench-Q.json` and the frame folders of DAVIS and MeViS: two questions about each of three videos."""
    records: list[dict[str, Any]] = []
    for number, folder in enumerate(FOLDERS):
        scene = squares(number)
        for frame, pixels in enumerate(scene.frames):
            save_picture(root / folder / f"{frame:05d}.jpg", pixels)
        (root / folder / "Thumbs.db").write_bytes(b"no picture")
        common = {"video": folder, "type": TYPES[number], "frame_idx": "2"}
        records.append(
            {
                "id": len(records),
                **common,
                "Question": "What colour is <object3><region>?",
                "options": [f"({letter}) {colour}" for letter, colour in zip("ABC", scene.colours, strict=True)],
                "Answer": f"(B) {scene.colours[1]}",
                "annotation": [masks(scene, 1)],
            }
        )
        records.append(
            {
                "id": len(records),
                **common,
                "Question": "Is <object2><region> the same as <object0><region>, or <object2> another?",
                "options": ["(A) <object0> is another", "(B) Both are the same", "(C) Nobody knows"],
                "Answer": "(A) <object0> is another",
                "annotation": [masks(scene, 2), masks(scene, 0)],
            }
        )
    (root / "VideoRefer-Bench-Q.json").write_text(json.dumps(records))


def write_videorefer_instruct(root: Path) -> None:
    """`train.json` with videos and images: one mask or several an object, polygons, and records without objects."""
    scene = squares(0)
    save_video(root / "videos" / "squares.mp4", scene.frames)
    save_picture(root / "images" / "squares.jpg", scene.frames[0])
    red, green, blue = scene.colours
    ring = [coordinate for point in scene.ring(1) for coordinate in point]
    video, image = {"video": "videos/squares.mp4"}, {"image": "images/squares.jpg"}
    introduction = "There are 2 objects in the video: <object0><region>, <object1><region>.\n"
    records = [
        {
            "id": 0,
            **video,
            "conversations": said("<video>\nWhat is <region>?", f"a {blue} square"),
            "annotation": [{"4": masks(scene, 2)["4"]}],
        },
        {
            "id": 0,
            **video,
            "conversations": said(f"{introduction}Which is {red}?\n<video>", "<object1> is.", "And <object0>?", green),
            "annotation": [masks(scene, 1), masks(scene, 0)],
        },
        {
            "id": 2,
            **image,
            "conversations": said("<image>\nWhat is <region>?", f"a {green} square"),
            "annotation": [{"0": {"segmentation": [ring]}}],
        },
        {"id": 3, **image, "conversations": said("<image>\nHow many squares?", "three")},
        {"id": 4, **video, "conversations": said("<video>\nWhat moves?", "two squares"), "annotation": []},
        {"id": "5", "conversations": said("What is a square?", "a shape")},
    ]
    (root / "train.json").write_text(json.dumps(records))


def said(*turns: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": turn} for number, turn in enumerate(turns)]


def masks(scene: Squares, square: int) -> dict[str, Any]:
    """The sampled frames; null, or a mask without a pixel, where the square has left the picture."""
    empty = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    gone = iter([None, empty, None, empty])
    return {
        str(frame): {"segmentation": scene.rle(square, frame) if scene.box(square, frame) else next(gone)}
        for frame in SAMPLED
    }
