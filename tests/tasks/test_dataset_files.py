"""Downloaded data: small files of the official formats, whole and damaged, from a local place."""

import gzip
import hashlib
import io
import tarfile

import numpy as np
import pytest

from metarl.core.errors import ArtifactError
from metarl.tasks.datasets import registry
from metarl.tasks.datasets.download import FOLDER_VARIABLE, RemoteFile, data_folder, fetch
from metarl.tasks.datasets.formats import read_cifar, read_idx
from metarl.tasks.datasets.images import (
    CIFAR10,
    FASHION_MNIST,
    MNIST,
    IdxFiles,
    read_cifar10,
    read_idx_files,
)

BATCHES = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)]
TEST_BATCH = "cifar-10-batches-bin/test_batch.bin"


def idx(array, kind=8):
    """An idx file of bytes, as its specification says."""
    header = bytes([0, 0, kind, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def cifar_records(images, labels):
    """Label, then red, green and blue planes, row by row."""
    return b"".join(
        bytes([label]) + b"".join(image[..., c].tobytes() for c in range(3))
        for image, label in zip(images, labels, strict=True)
    )


def archive(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def published(folder, name, content):
    """Puts a file where it can be downloaded from without a network."""
    folder.mkdir(exist_ok=True)
    path = folder / name.replace("/", "-")
    path.write_bytes(content)
    return RemoteFile(name, (path.as_uri(),), hashlib.md5(content).hexdigest())


def name_of(value):
    """Compressed bytes hold the time: every worker would call them otherwise."""
    return "content" if isinstance(value, bytes) else value


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_file_is_downloaded_once(tmp_path):
    file = published(tmp_path / "web", "set/part.gz", b"content")
    cache = tmp_path / "cache"
    assert fetch(file, cache) == b"content"
    (tmp_path / "web" / "set-part.gz").unlink()
    assert fetch(file, cache) == b"content"
    assert [p.name for p in (cache / "set").iterdir()] == ["part.gz"]


def test_the_next_mirror_is_tried(tmp_path):
    file = published(tmp_path / "web", "part", b"content")
    gone = (tmp_path / "nowhere").as_uri()
    other = published(tmp_path / "web", "other", b"another edition").urls[0]
    mirrored = RemoteFile("part", (gone, other, *file.urls), file.md5)
    assert fetch(mirrored, tmp_path / "cache") == b"content"


def test_offline_the_error_says_what_to_do(tmp_path):
    url = "http://127.0.0.1:9/train.gz"  # the discard port: nobody listens
    with pytest.raises(ArtifactError) as error:
        fetch(RemoteFile("set/train.gz", (url,), "0" * 32), tmp_path)
    assert all(
        part in str(error.value)
        for part in (url, str(tmp_path / "set" / "train.gz"), FOLDER_VARIABLE)
    )
    assert list(tmp_path.iterdir()) == []


def test_a_download_of_another_content_is_not_kept(tmp_path):
    file = published(tmp_path / "web", "part", b"content")
    wrong = RemoteFile("part", file.urls, hashlib.md5(b"other").hexdigest())
    with pytest.raises(ArtifactError, match=f"its MD5 is {file.md5}, published is {wrong.md5}"):
        fetch(wrong, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_damaged_file_in_the_folder_is_named(tmp_path):
    file = published(tmp_path / "web", "part", b"content")
    fetch(file, tmp_path)
    (tmp_path / "part").write_bytes(b"conten")
    with pytest.raises(ArtifactError, match=r"part is damaged.*Delete it"):
        fetch(file, tmp_path)


def test_the_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder() == tmp_path / ".cache" / "metarl"


def idx_files(folder, train, train_labels, test, test_labels):
    return IdxFiles(
        published(folder, "train-images", idx(train)),
        published(folder, "train-labels", idx(train_labels)),
        published(folder, "test-images", idx(test)),
        published(folder, "test-labels", idx(test_labels)),
    )


def test_idx_files_become_a_data_set(tmp_path, rng):
    train = rng.integers(0, 256, (7, 4, 4))
    test = rng.integers(0, 256, (3, 4, 4))
    labels = np.arange(7), np.array([9, 0, 4])
    files = idx_files(tmp_path / "web", train, labels[0], test, labels[1])
    data = read_idx_files("tiny", files, tmp_path / "cache")
    np.testing.assert_array_equal(data.train_inputs[..., 0], train)
    np.testing.assert_array_equal(data.test_inputs[..., 0], test)
    np.testing.assert_array_equal(data.train_targets, labels[0])
    np.testing.assert_array_equal(data.test_targets, labels[1])
    assert (data.shape, data.classes) == ((4, 4, 1), 10)
    np.testing.assert_allclose(
        data.preprocess(data.test_inputs)[..., 0], test / 255, rtol=2 * np.finfo(np.float32).eps
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.arange(6), "7 images and 6 labels"), (np.array([0, 1, 2, 3, 4, 5, 10]), "label 10")],
)
def test_labels_must_fit(tmp_path, rng, labels, message):
    images = rng.integers(0, 256, (7, 4, 4))
    files = idx_files(tmp_path / "web", images, labels, images, np.arange(7))
    with pytest.raises(ArtifactError, match=message):
        read_idx_files("tiny", files, tmp_path / "cache")


IMAGES = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "not a whole gzip file"),
        (idx(IMAGES)[:-9], "not a whole gzip file"),
        (
            gzip.compress(gzip.decompress(idx(IMAGES))[:-1]),
            r"shape is \(2, 3, 3\).*34 bytes; it has 33",
        ),
        (gzip.compress(gzip.decompress(idx(IMAGES)) + b"x"), "it has 35"),
        (gzip.compress(gzip.decompress(idx(IMAGES))[:10]), "bytes; it has 10"),
        (idx(IMAGES, kind=13), "begins with 00000d03, where 00000803"),
        (idx(IMAGES[0]), "begins with 00000802"),
        (gzip.compress(b""), "begins with ,"),
    ],
    ids=name_of,
)
def test_what_is_no_idx_file_is_refused(content, message):
    with pytest.raises(ArtifactError, match=message):
        read_idx("images", content, axes=3)


def test_cifar_becomes_a_data_set(tmp_path, rng):
    images = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, 12)
    parts = {
        name: cifar_records(images[2 * i : 2 * i + 2], labels[2 * i : 2 * i + 2])
        for i, name in enumerate([*BATCHES, TEST_BATCH])
    }
    shuffled = {name: parts[name] for name in [TEST_BATCH, *reversed(BATCHES)]}
    file = published(tmp_path / "web", "cifar.tar.gz", archive(shuffled | {"readme.html": b"hi"}))
    data = read_cifar10("tiny", file, tmp_path / "cache")
    np.testing.assert_array_equal(data.train_inputs, images[:10])
    np.testing.assert_array_equal(data.train_targets, labels[:10])
    np.testing.assert_array_equal(data.test_inputs, images[10:])
    np.testing.assert_array_equal(data.test_targets, labels[10:])


RECORD = cifar_records(np.zeros((1, 32, 32, 3), np.uint8), [3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "not a whole tar.gz"),
        (archive({"a.bin": RECORD * 40})[:-20], "not a whole tar.gz"),
        (archive({"b.bin": RECORD}), "does not hold .*a.bin"),
        (archive({"a.bin": RECORD[:-1]}), "a.bin of cifar has 3072 bytes, which are not records"),
        (archive({"a.bin": b""}), "has 0 bytes"),
    ],
    ids=name_of,
)
def test_what_is_no_cifar_is_refused(content, message):
    with pytest.raises(ArtifactError, match=message):
        read_cifar("cifar", content, ("a.bin",))


def test_official_files_are_told_apart():
    """A checksum and a name of its own for each, and every mirror names the same file."""
    files = [*vars(MNIST).values(), *vars(FASHION_MNIST).values(), CIFAR10]
    assert len({file.md5 for file in files}) == len({file.name for file in files}) == 9
    assert all(len(file.md5) == 32 and int(file.md5, 16) for file in files)
    for kind in (MNIST, FASHION_MNIST):
        assert "train-images" in kind.train_images.name
        assert "train-labels" in kind.train_labels.name
        assert "t10k-images" in kind.test_images.name
        assert "t10k-labels" in kind.test_labels.name
        for file in vars(kind).values():
            assert all(url.endswith(file.name.split("/")[1]) for url in file.urls)


def test_a_data_set_by_name_reads_the_chosen_folder(tmp_path, monkeypatch, rng):
    """The whole way of `load("mnist", size=2)`, with small files in the place of the official."""
    train, test = rng.integers(0, 256, (4, 4, 4)), rng.integers(0, 256, (2, 4, 4))
    files = idx_files(tmp_path / "web", train, np.arange(4), test, np.arange(2))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setitem(registry.IMAGES, "mnist", lambda: read_idx_files("mnist", files))
    registry.load.cache_clear()
    try:
        data = registry.load("mnist", size=2)
    finally:
        registry.load.cache_clear()
    expected = train.reshape(4, 2, 2, 2, 2).mean((2, 4))
    assert np.abs(data.train_inputs[..., 0] - expected).max() <= 0.5
    assert (tmp_path / "cache" / "train-images").is_file()
