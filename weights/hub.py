"""Where the files of a Hugging Face repository can be had, and what they hold.

huggingface_hub says that: it knows the endpoint (``HF_ENDPOINT``), the user's token (``HF_TOKEN`` or ``hf auth login``)
and what the hub's refusals mean. The bytes are fetched by `weights.download`, because huggingface_hub begins every file
anew that was interrupted, and these have gigabytes. A file's ETag on the hub is its sha256, or its git hash where it is
small.
"""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from weights import download
from weights.download import Address, RefusedError
from weights.manifest import CheckpointError, CheckpointFile
from weights.origins import Origin


def repository_files(origin: Origin) -> list[CheckpointFile]:
    """Ask the hub which files a repository has, with their sizes, and hashes where it tells them.

    Raises
    ------
    CheckpointError
        There is no such repository or revision, it is not given to this user, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token

    endpoint = (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
    api = HfApi(endpoint=endpoint, token=get_token() or False)
    try:
        info = api.model_info(
            origin.repository, revision=origin.revision, files_metadata=True, timeout=download.TIMEOUT
        )
    except Exception as error:
        page = origin.page
        refusal = HubFile(origin, "", origin.revision).refusal(error, page)
        if isinstance(refusal, CheckpointError):
            raise refusal from error
        raise CheckpointError(
            f"{page} was not reached ({refusal}); try again, or give files with --from DIR."
        ) from error
    return [
        CheckpointFile(file.rfilename, file.size, None if file.lfs is None else file.lfs.sha256)
        for file in info.siblings or ()
    ]


class HubFile:
    """A file of a hub repository, as the hub describes it.

    Parameters
    ----------
    origin : Origin
        Of kind "hub".
    path : str
        In the repository.
    revision : str
        A commit, or the origin's own revision.

    Attributes
    ----------
    commit : str or None
        What the revision stood at; known once `find` was called.
    etag : str or None
        The content's sha256, or its git hash.
    """

    def __init__(self, origin: Origin, path: str, revision: str):
        self.origin, self.path, self.revision = origin, path, revision
        self.commit = self.etag = None

    def find(self) -> Address:
        """Ask the hub for the file's address.

        Raises
        ------
        RefusedError
            There is no such repository, revision or file, or it is not given to this user.
        CheckpointError
            huggingface_hub has been told to stay offline.
        OSError
            The hub cannot be reached.
        """
        from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

        endpoint = (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
        kind = "dataset" if self.origin.of_dataset else None
        url = hf_hub_url(self.origin.repository, self.path, repo_type=kind, revision=self.revision, endpoint=endpoint)
        token = get_token()
        try:
            facts = get_hf_file_metadata(url, token=token or False, timeout=download.TIMEOUT)
        except Exception as error:
            raise self.refusal(error, url) from error
        if self.commit is None:
            self.commit = facts.commit_hash or self.revision
            if self.commit != self.revision:
                # A branch may move between two questions; a commit does not.
                self.revision = self.commit
                return self.find()
        self.etag = facts.etag
        at_the_hub = urlsplit(facts.location).netloc == urlsplit(url).netloc
        headers = {"Authorization": f"Bearer {token}"} if token and at_the_hub else {}
        return Address(facts.location, facts.size, headers, constant=True)

    def check(self, file: Path, sha256: str) -> str | None:
        """What is wrong with a fetched file, in words, or None.

        Parameters
        ----------
        file : Path
        sha256 : str
            Of the file.
        """
        if self.etag and re.fullmatch("[0-9a-f]{64}", self.etag):
            return None if sha256 == self.etag else f"has sha256 {sha256} where the hub says {self.etag}"
        if self.etag and re.fullmatch("[0-9a-f]{40}", self.etag):
            found = _git_hash(file)
            return None if found == self.etag else f"has the git hash {found} where the hub says {self.etag}"
        return None

    def refusal(self, error, url):
        """What to raise for what huggingface_hub raised."""
        from huggingface_hub import errors

        repository, page = self.origin.place, self.origin.page
        code = getattr(getattr(error, "response", None), "status_code", None)
        log_in = "log in with `hf auth login` or set HF_TOKEN"
        if isinstance(error, errors.OfflineModeIsEnabled):
            return CheckpointError(
                f"{url} was not asked for because HF_HUB_OFFLINE is set; unset it, or give files copied by hand with --from DIR."
            )
        if isinstance(error, errors.GatedRepoError) or code == 403:
            return RefusedError(
                f"hub:{repository} is given to those only who accept its licence; do so at {page}, then {log_in}.", 403
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return RefusedError(
                f"hub:{repository} has no revision {self.revision}; look at {page} for those it has.", 404
            )
        if isinstance(error, errors.EntryNotFoundError):
            return RefusedError(
                f"hub:{repository}@{self.revision} has no file {self.path}; look at {page} for what it is called now, "
                "and give files copied by hand with --from DIR.",
                404,
            )
        if isinstance(error, errors.RepositoryNotFoundError) or code == 401:
            return RefusedError(
                f"hub:{repository} does not exist, or not for you ({code}); accept its licence at {page} if it has one, "
                f"and {log_in}.",
                code or 404,
            )
        if isinstance(code, int) and code < 500 and code not in (408, 425, 429):
            return RefusedError(f"{url} was refused ({code}); give files copied by hand with --from DIR.", code)
        network = type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "requests")
        if code is not None or network or isinstance(error, OSError):
            told = next(iter(str(error).splitlines()), type(error).__name__)
            return ConnectionError(f"the hub could not be asked: {told}")
        return error


def _git_hash(file):
    digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
