"""The checks of `fleetlog doctor`, dependencies first."""

import os
from functools import partial

from application.operations.diagnosis import Check, CheckResult, diagnose
from infrastructure.operations import installation_checks as checks
from infrastructure.runtimes.egress import HostFirewall
from interfaces.bootstrap.direct_access import running_database, running_object_store
from interfaces.bootstrap.runtime import registered_providers
from interfaces.settings import Settings, SettingsError

MEND_POSTGRES = "see that its server runs and that DATABASE_URL names the right host, port, user, password and database"
MEND_OBJECT_STORE = (
    "see that its server runs, that S3_ENDPOINT, S3_REGION and S3_BUCKET are right, and that the AWS_ keys, or what "
    "AWS's chain finds without them (AWS_PROFILE, a role), may read and write there"
)


def _firewall(settings: Settings) -> HostFirewall | None:
    if not settings.in_containers:
        return None
    return HostFirewall("", settings.worker_egress, environment=os.environ)


async def diagnosis(settings: Settings) -> list[CheckResult]:
    """The results of all checks. Never raises."""
    database = partial(running_database, settings)
    postgres = partial(checks.check_postgres, database, embedded=settings.embedded_postgres)
    object_store = partial(
        checks.check_object_store,
        partial(running_object_store, settings),
        embedded=settings.embedded_object_store,
    )
    return await diagnose(
        (
            Check(name="python", run=checks.check_python),
            Check(name="home", run=partial(checks.check_home, settings.home.absolute())),
            Check(name="port", run=partial(checks.check_port, settings.host, settings.port)),
            Check(name="shell", run=checks.check_shell),
            Check(name="postgres", run=postgres, mend=MEND_POSTGRES),
            Check(name="object store", run=object_store, mend=MEND_OBJECT_STORE),
            Check(name="projections", run=partial(checks.check_projections, database), needs="postgres"),
            Check(name="process managers", run=partial(checks.check_process_managers, database), needs="postgres"),
            Check(name="egress", run=partial(checks.check_egress, _firewall(settings))),
            Check(name="providers", run=partial(checks.check_providers, partial(registered_providers, settings))),
        ),
        plain_errors=(SettingsError,),
    )
