"""Files that are spoiled on purpose."""


def cut(path, keep=0.5):
    """Keep the first part of a file, as a download that broke off does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
