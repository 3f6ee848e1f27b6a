"""Join the PDFs of the chapters: page numbers run through, links lead from chapter to chapter.

Chromium prints each document by itself, so it can neither number the pages of the book nor link to
another document. It does remember where the ids stand that its document links to; from these come
the links (addresses `lemmse:ID` until here) and the outline.
"""

from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    Fit,
    FloatObject,
    NameObject,
    NullObject,
)

from lemmse.files import replaced
from paper_pages import SCHEME

NUMBER_FONT = "/PageNumber"
NUMBER_SIZE = 9  # points
NUMBER_HEIGHT = 30  # points above the lower edge
DIGIT = 0.556  # of the size: every digit of Helvetica has this width


def places(reader):
    """Where the ids of a PDF stand: id -> (page from 0, height in points above the lower edge)."""
    found = {}
    for name, target in reader.named_destinations.items():
        page = reader.get_destination_page_number(target)
        if page is not None and page >= 0:
            found[name.lstrip("/")] = (page, target.top)
    return found


def join(every, path, title, author):
    """Write the book.

    Args:
        every: (document, its PDF) in their order; a document has `headings` (level, id, title).
        path: of the PDF of all.
        title: of the book.
        author: of the book.

    Returns:
        The number of pages and the ids that links look for in vain.
    """
    writer, where, starts = PdfWriter(), {}, []
    for _, file in every:
        reader, start = PdfReader(file), len(writer.pages)
        for page in reader.pages:
            writer.add_page(page)
        where |= {name: (start + page, top) for name, (page, top) in places(reader).items()}
        starts.append(start)
    lost = set()
    for number, page in enumerate(writer.pages, start=1):
        lost |= lead_inside(writer, page, where)
        write_number(page, number)
    headings = [
        (level, title, *where.get(name, (start, None)))
        for (one, _), start in zip(every, starts, strict=True)
        for level, name, title in one.headings
    ]
    add_outline(writer, headings)
    writer.add_metadata({"/Title": title, "/Author": author})
    writer.page_mode = "/UseOutlines"
    writer.compress_identical_objects(remove_duplicates=True, remove_unreferenced=True)
    with replaced(path) as draft:
        writer.write(draft)
    return len(writer.pages), lost


def lead_inside(writer, page, where):
    """Turn the links `lemmse:ID` of a page into links to a place; the ids that have none.

    A link that finds no place is taken away.
    """
    kept, lost = ArrayObject(), set()
    for reference in page.get("/Annots", ()):
        link = reference.get_object()
        address = str(link.get("/A", {}).get("/URI", ""))
        if address.startswith(SCHEME):
            name = address.removeprefix(SCHEME)
            if name not in where:
                lost.add(name)
                continue
            target, top = where[name]
            del link["/A"]
            link[NameObject("/Dest")] = destination(writer.pages[target], top)
        kept.append(reference)
    if "/Annots" in page:
        page[NameObject("/Annots")] = kept
    return lost


def destination(page, top):
    """A place on a page, at the zoom that the reader has."""
    place = [page.indirect_reference, NameObject("/XYZ"), FloatObject(0)]
    return ArrayObject([*place, FloatObject(top), NullObject()])


def write_number(page, number):
    """Write the number of a page into the middle of its foot."""
    text = str(number)
    left = (float(page.mediabox.width) - DIGIT * NUMBER_SIZE * len(text)) / 2
    place = f"{left:.1f} {NUMBER_HEIGHT} Td"
    stream, printed = DecodedStreamObject(), page.get_contents()
    # What Chromium wrote stays between q and Q: it leaves its own scale behind.
    stream.set_data(
        b"q\n"
        + (b"" if printed is None else printed.get_data())  # its truth is that of its entries
        + f"\nQ BT {NUMBER_FONT} {NUMBER_SIZE} Tf {place} ({text}) Tj ET".encode()
    )
    page.replace_contents(stream.flate_encode())
    fonts = page["/Resources"].get_object().setdefault(NameObject("/Font"), DictionaryObject())
    fonts.get_object()[NameObject(NUMBER_FONT)] = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )


def add_outline(writer, headings):
    """The outline of headings (level, title, page, height): sections below their chapter."""
    above = None
    for level, title, page, top in headings:
        entry = writer.add_outline_item(
            title=title,
            page_number=page,
            parent=above if level > 1 else None,
            fit=Fit.xyz(left=0, top=top),
            is_open=False,
        )
        above = above if level > 1 else entry
