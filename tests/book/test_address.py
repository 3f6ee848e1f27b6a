"""What follows from the one place where the public address stands."""

import pytest

from address import ROOT, citation, install_lines, install_source, repository_url, version
from lemmse import __version__

ADDRESS = "https://github.com/someone/something"


def config(folder, url):
    (folder / "_config.yml").write_text(f'repository:\n  url: "{url}"\n', encoding="utf-8")
    return folder


def test_the_version_is_that_of_the_package():
    assert version() == __version__


def test_lines_that_install_name_the_tag_of_the_version():
    source = f"git+{ADDRESS}@v{__version__}"
    assert install_source(ADDRESS) == source
    assert f'pip install "{source}"' in install_lines(ADDRESS)
    assert "git+" not in install_lines("")
    assert f"lemmse-{__version__}-py3-none-any.whl" in install_lines("")


@pytest.mark.parametrize("url", ["", ADDRESS])
def test_the_address_is_read_from_the_configuration(url, tmp_path):
    assert repository_url(config(tmp_path, url)) == url
    assert repository_url(config(tmp_path, url and url + "/")) == url


def test_an_address_without_scheme_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"start with https://, got 'github\.com/a/b'"):
        repository_url(config(tmp_path, "github.com/a/b"))


def test_the_citation_has_version_and_address():
    before = "title: a\nversion: 0.0.1\nlicense: MIT\n"
    with_address = citation(before, ADDRESS)
    assert with_address == (
        f"title: a\nversion: {__version__}\nrepository-code: {ADDRESS}\nlicense: MIT\n"
    )
    assert citation(with_address, "") == f"title: a\nversion: {__version__}\nlicense: MIT\n"
    assert citation(with_address, ADDRESS) == with_address


def test_the_citation_of_the_repository_is_up_to_date():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert text == citation(text, repository_url()), "run `make notebooks`"
