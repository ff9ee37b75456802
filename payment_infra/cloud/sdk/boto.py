"""The SDK's session, and what it knows of partitions, regions and hosts."""

import re
from functools import cached_property
from typing import Any

import botocore.session
from botocore.config import Config

from payment_infra.cloud.sdk import configuration, endpoints


class Boto:
    """What is used of boto3.Session; S3 transfers are not: their import takes long."""

    def __init__(self, core: botocore.session.Session, region: str) -> None:
        self.region_name = region
        self._core = core

    def client(self, service: str, endpoint_url: str | None, config: Config) -> Any:
        """Return a new client."""
        return self._core.create_client(
            service, region_name=self.region_name, endpoint_url=endpoint_url, config=config
        )

    def get_credentials(self) -> Any:
        """Return the credentials, None if there are none.

        Raises:
            AwsError: they hang on a file that cannot be read.
        """
        found = self._core.get_credentials()
        if found is not None and found.method == configuration.WEB_IDENTITY:
            configuration.check_token(self._core)  # or it is read when something is sent
        return found

    @property
    def certificates(self) -> str | bool:
        """The file of the CAs that are trusted, True for the SDK's own."""
        return configuration.certificates(self._core)

    @cached_property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of AWS's own hosts end with, in every partition."""
        outputs = [partition["outputs"] for partition in self._partitions]
        names = {output[name] for output in outputs for name in ("dnsSuffix", "dualStackDnsSuffix")}
        return tuple(f".{name}" for name in sorted(names))

    @property
    def suffix(self) -> str:
        """What the names of the region's hosts end with, as amazonaws.com."""
        of_region = (
            partition
            for partition in self._partitions
            if re.match(partition["regionRegex"], self.region_name)
        )
        return str(next(of_region, self._partitions[0])["outputs"]["dnsSuffix"])

    @cached_property
    def _partitions(self) -> Any:
        return self._core.get_component("data_loader").load_data("partitions")["partitions"]

    @property
    def names_endpoints(self) -> bool:
        """Whether the AWS configuration can name endpoints for single services."""
        return endpoints.are_named(self._core.get_scoped_config())

    def regions(self) -> list[str]:
        """Return the regions that the SDK knows, of every partition."""
        return [
            region
            for partition in self._core.get_available_partitions()
            for region in self._core.get_available_regions("cloudformation", partition)
        ]
