"""Composes the object store of the control plane: where it is, with which credentials."""

import asyncio

from infrastructure.boto3_store.session import DEFAULT_REGION, AwsSession, NoCredentials, region_of_chain
from infrastructure.boto3_store.store import Boto3ObjectStore
from infrastructure.object_store.location import S3Location
from interfaces.bootstrap.startup_errors import startup_errors
from interfaces.settings import Settings, SettingsError


def configured_object_store(settings: Settings) -> S3Location:
    """The object store that the settings name: `S3_ENDPOINT`, or AWS itself. Without keys in it, they come from AWS's
    chain."""
    at_aws = settings.s3_endpoint is None
    return S3Location(
        endpoint=settings.s3_endpoint or "",
        bucket=settings.bucket,
        region=settings.s3_region or (region_of_chain() if at_aws else DEFAULT_REGION),
        access_key=settings.aws_access_key_id or "",
        secret_key=settings.aws_secret_access_key or "",
        session_token=settings.aws_session_token or "",
    )


async def object_store_session(location: S3Location) -> AwsSession:
    """Loads boto3 and finds credentials. Raises SettingsError when there are none, StartRefused when they can't be had
    now."""
    with startup_errors():
        session = await asyncio.to_thread(AwsSession, location)
        try:
            await session.arrival()
        except NoCredentials as error:
            raise SettingsError("AWS_ACCESS_KEY_ID", f"{error}.") from error
        return session


async def open_object_store(session: AwsSession) -> Boto3ObjectStore:
    """Close it when done. Opening one reads boto3's descriptions of the API from the disk. Raises
    StartRefused."""
    with startup_errors():
        return await asyncio.to_thread(Boto3ObjectStore, session)
