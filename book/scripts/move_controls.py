"""The last cell of a notebook while it is executed: it moves every control of every explorer.

When the cells of a chapter have all run, names may mean something else than when an explorer was
made: its function must still draw, and draw the same. The executed copies are kept without it.
"""

import gc
import time

import nbformat
import numpy as np

IDENTIFIER = "move-every-control"
SAME = 1.0  # grey levels of 255, on average over a frame: rounding, but not another picture


def with_moves(text):
    """A notebook file with the cell at its end."""
    notebook = nbformat.reads(text, as_version=4)
    # In a namespace of its own: the cell must not bind a name that an explorer uses.
    source = f"__import__('runpy').run_path({__file__!r})['move_living']()"
    notebook.cells.append(nbformat.v4.new_code_cell(source, id=IDENTIFIER))
    return nbformat.writes(notebook)


def without_moves(text):
    """An executed notebook file without the cell."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id != IDENTIFIER]
    return nbformat.writes(notebook)


def move_living():
    """Move every control of every explorer that there is in this process."""
    from lemmse.plots.explore import Explorer  # here: whoever adds the cell does without torch

    move_every_control([item for item in gc.get_objects() if issubclass(type(item), Explorer)])


def move_every_control(explorers):
    """Move every slider to its end and back; print what the frame at all ends costs.

    One frame is drawn anew, not all: a function that draws wrongly now does so everywhere, and a
    frame may take seconds.

    Raises:
        AssertionError: a function that fails, or draws another picture than before.
    """
    for explorer in explorers:
        for end in (-1, 0):
            for name, slider in explorer.sliders.items():
                value = slider.value = slider.options[end][1]
                assert not explorer.status.value, f"{name} = {value!r}: {explorer.status.value}"
            if end == -1:
                compare(explorer, tuple(slider.index for slider in explorer.sliders.values()))


def compare(explorer, position):
    """Draw the frame at a position once more, past the explorer's memory; print its seconds."""
    before, start = explorer.frame(position), time.process_time()
    after = explorer.draw(position)
    seconds = time.process_time() - start
    same = before.image.size == after.image.size
    levels = [np.asarray(frame.image, dtype=float) for frame in (before, after)]
    distance = np.abs(levels[0] - levels[1]).mean() if same else 255.0
    print(f"{explorer.title}: {position} took {seconds:.2f} s, moved by {distance:.2f}")
    assert distance <= SAME, f"{explorer.title}: {position} is another picture after the last cell"
