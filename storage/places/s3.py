"""A bucket of an object store that speaks S3: a store of one's own (Ceph, MinIO, ...) or one that is hired.

Whoever may read or write is told by the environment or the profile of who runs it, as for every tool for S3, never
by a file of terp. Each request carries the SHA-256 of what it brings in its signature and its MD5 beside it, and the
store refuses what does not fit (AWS Signature Version 4; RFC 1864).
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from terp.storage.errors import PlaceTrouble
from terp.storage.files import disk
from terp.storage.places.place import BLOCK, Stored, Told, blocks, checked, cleared, listed, prefix_of

_PART = 64 << 20  # bytes of a part, which is sent, proven and, when need be, sent again alone
_PARTS = 10_000  # at most, of one object
_TRIES = 4  # of reading on where a connection broke
_MISSING = {"404", "NoSuchKey", "NotFound"}


class Bucket:
    """Objects of a bucket whose keys begin with a prefix. The bucket has to be there."""

    kind = "s3"

    def __init__(
        self, name: str, bucket: str, prefix: str = "", endpoint: str = "", region: str = "", profile: str = ""
    ) -> None:
        self.name, self.bucket, self.endpoint, self.region, self.profile = name, bucket, endpoint, region, profile
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield the objects whose names begin with a prefix, by name."""
        pages = self._client.get_paginator("list_objects_v2")
        with self._answers():
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix_of(prefix)):
                for one in page.get("Contents", []):
                    if one["Key"] != self.prefix:  # what web pages of stores make for a folder
                        yield Stored(listed(self.name, one["Key"].removeprefix(self.prefix)), one["Size"])

    def read(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of an object from an offset, in blocks; where the connection breaks, it goes on."""
        there = self._size(name)
        end = there if size is None else min(there, offset + size)
        left = _TRIES
        while offset < end:
            try:
                before = offset
                for block in self._range(name, offset, end):
                    offset += len(block)
                    yield block
                if offset == before:
                    raise PlaceTrouble(
                        f"the place {self.name} ends {name} at byte {offset} of {end}: do the same again"
                    )
            except BotoCoreError as error:
                left -= 1
                if not left:
                    raise PlaceTrouble(f"the place {self.name} broke off {name} at byte {offset}: {error}") from error

    def _range(self, name: str, start: int, end: int) -> Iterator[bytes]:
        with self._answers(BotoCoreError):
            found = self._client.get_object(**self._at(name), Range=f"bytes={start}-{end - 1}")
            yield from found["Body"].iter_chunks(BLOCK)

    def put(self, name: str, source: Path, sha512: str | None = None, told: Told = int) -> None:
        """Send a file: in one piece, or in parts that the store joins when the last has come."""
        with disk(source):
            size = source.stat().st_size
        data = blocks(source, sha512, told)
        if size <= _PART:
            self.write(name, b"".join(data))
        else:
            self._put_parts(name, _joined(data, max(_PART, -(-size // (_PARTS - 1000)))))
        self._expect(name, size)

    def write(self, name: str, data: bytes) -> None:
        """Store some bytes under a name."""
        with self._answers():
            self._client.put_object(**self._at(name), Body=data, ContentMD5=_md5(data))

    def delete(self, name: str) -> None:
        """Remove an object, with all the versions of it that a bucket may keep."""
        at = self._at(name)
        with self._answers():
            self._client.delete_object(**at)
            if self._keeps_versions():
                for key, version in list(self._versions(at["Key"])):
                    if key == at["Key"]:
                        self._client.delete_object(**at, VersionId=version)

    def clear(self, prefix: str) -> int:
        """Remove all below a prefix, older versions of what is gone too, and prove it; return how many bytes went."""
        gone = cleared(self, prefix)
        with self._answers():
            if self._keeps_versions():
                for key, version in list(self._versions(self.prefix + prefix_of(prefix))):
                    self._client.delete_object(Bucket=self.bucket, Key=key, VersionId=version)
                if left := next(self._versions(self.prefix + prefix_of(prefix)), None):
                    raise PlaceTrouble(f"the place {self.name} still has versions of {left[0]}: look at it")
        return gone

    def sweep(self, prefix: str = "") -> None:
        """Remove the parts of objects that were never joined."""
        pages = self._client.get_paginator("list_multipart_uploads")
        with self._answers():
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix_of(prefix)):
                for one in page.get("Uploads", []):
                    self._client.abort_multipart_upload(Bucket=self.bucket, Key=one["Key"], UploadId=one["UploadId"])

    def stage(self, names: Sequence[str]) -> Sequence[str]:
        """Return nothing: all can be read at once."""
        return []

    def _put_parts(self, name: str, parts: Iterator[bytes]) -> None:
        with self._answers():
            at = {**self._at(name), "UploadId": self._client.create_multipart_upload(**self._at(name))["UploadId"]}
            try:
                done = []
                for number, part in enumerate(parts, 1):
                    answer = self._client.upload_part(**at, PartNumber=number, Body=part, ContentMD5=_md5(part))
                    done.append({"PartNumber": number, "ETag": answer["ETag"]})
                self._client.complete_multipart_upload(**at, MultipartUpload={"Parts": done})
            except BaseException:
                with suppress(BotoCoreError, ClientError):  # else `sweep` does it
                    self._client.abort_multipart_upload(**at)
                raise

    def _expect(self, name: str, size: int) -> None:
        found = self._size(name)
        if found != size:
            raise PlaceTrouble(f"the place {self.name} kept {found} of {size} bytes of {name}; do the same again")

    def _size(self, name: str) -> int:
        with self._answers():
            return int(self._client.head_object(**self._at(name))["ContentLength"])

    def _keeps_versions(self) -> bool:
        return bool(self._client.get_bucket_versioning(Bucket=self.bucket).get("Status"))

    def _versions(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield key and version of all that a bucket keeps below a prefix, deleted or not."""
        for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
            for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                yield one["Key"], one["VersionId"]

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + checked(name)}

    @cached_property
    def _client(self) -> Any:
        import boto3  # late: it takes half a second
        from botocore.config import Config

        config = Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 4},
            request_checksum_calculation="when_required",  # not every store knows the newer ones
            response_checksum_validation="when_required",
            s3={"payload_signing_enabled": True, "addressing_style": "path" if self.endpoint else "auto"},
        )
        with self._answers():
            session = boto3.session.Session(profile_name=self.profile or None, region_name=self.region or None)
            where = {"endpoint_url": self.endpoint} if self.endpoint else {}
            return session.client("s3", config=config, **where)

    @contextmanager
    def _answers(self, *but: type[Exception]) -> Iterator[None]:
        """Turn what the store refuses into PlaceTrouble, or FileNotFoundError; let some errors through."""
        whose = f"the place {self.name} (bucket {self.bucket}{f' at {self.endpoint}' if self.endpoint else ''})"
        try:
            yield
        except but:
            raise
        except NoCredentialsError:
            raise PlaceTrouble(f"{whose} wants to know who you are: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                               "or name a profile in places.toml") from None  # fmt: skip
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                raise FileNotFoundError(f"{whose} has no such object") from None
            raise PlaceTrouble(f"{whose} refused: {_said(error, code)}") from error
        except BotoCoreError as error:
            raise PlaceTrouble(f"{whose} does not answer: {error}") from error


_WORDS = {
    "NoSuchBucket": "there is no such bucket: make it, or correct places.toml",
    "InvalidAccessKeyId": "it does not know your access key",
    "SignatureDoesNotMatch": "your secret key is not the one it knows",
    "AccessDenied": "you may not do that: ask its owner",
    "403": "you may not do that: ask its owner",
    "QuotaExceeded": "your quota there is used up: free space or ask for more, then do the same again",
    "BadDigest": "what came there was not what was sent; do the same again",
}


def _said(error: ClientError, code: str) -> str:
    return _WORDS.get(code) or f"{code} {error.response.get('Error', {}).get('Message') or ''}".strip()


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _joined(data: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the same bytes in pieces of one size, the last excepted."""
    held = bytearray()
    for block in data:
        held += block
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
