"""The plain copies that readers open: in Jupyter Lab, on Colab, or downloaded from a page."""

from execute_notebooks import executed_copy
from make_course import course_files, glued_values, read_course
from stored_numbers import stored_values

NOTICE = """\
> **The numbers of this chapter were not computed here.** Three dots stand for them in the text; the
> cells that compute them print their values. `make book CHAPTERS={number}`, then `make lab` again,
> puts them in their places."""


class Dots(dict):
    """Numbers by name; three dots for one that is not known."""

    def __contains__(self, name):
        """Every name has a text."""
        return True

    def get(self, name, default=None):
        """The number, or three dots."""
        return super().get(name, "…")


def lab_files(copy, paths):
    """The files of a copy, relative path -> bytes, and the chapters without numbers."""
    executed = [path for path in paths if executed_copy(path).exists()]
    stored = {path: stored_values(path) for path in paths if path not in executed}
    values = glued_values(executed)
    for numbers in stored.values():
        values |= numbers or {}
    waiting = [path for path, numbers in stored.items() if numbers is None]
    notices = {path: NOTICE.format(number=int(path.name[:2])) for path in waiting}
    course = read_course(paths, Dots(values), notices)
    return course_files(copy, course), waiting
