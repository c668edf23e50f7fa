"""Takes credentials for the object store that a call has brought: redaction knows them before anything uses them."""

from application.store_credentials import StoreCredentials
from infrastructure.executor.runs.provider_runs import ProviderRuns
from infrastructure.object_store.location import S3Credentials
from infrastructure.object_store.s3 import S3ObjectStore


def use_renewed(runs: ProviderRuns, store: S3ObjectStore, given: StoreCredentials) -> None:
    credentials = S3Credentials(
        access_key=given.access_key, secret_key=given.secret_key, session_token=given.session_token
    )
    runs.learn_secrets(credentials.secrets)
    store.renew(credentials, given.endpoint)
