"""What the metadata of an archived object are filled from, for tests: a record, a decision, a coverage."""

from datetime import UTC, datetime
from pathlib import Path

from terp.storage.archive.policy import Beperking, Funding, Organisation, Policy
from terp.storage.environment import Environment
from terp.storage.machine import Machine
from terp.storage.metadata.coverage import Coverage
from terp.storage.metadata.filling import Kept
from terp.storage.provenance import Agent, Flow, Input, Output, Record

MADE, TAKEN = datetime(2026, 11, 21, 12, 30, tzinfo=UTC), datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
POLICY = Policy.load(Path(__file__).parents[1] / "policy.toml")
FILES = ("anomaly.zarr.zip", "anomaly.zarr.zip.members.json", "policy.toml", "picture.png", "README.md", "SHA512SUMS")
RECORD = Record(
    run="2026-11-21-anomalies-1a2b",
    title="Temperatuurafwijkingen van De Bilt",
    flow=Flow("anomalies", "Subtract the normals.", "1.2", "def anomalies(): ...\n", url="https://example.org/code"),
    started=MADE,
    ended=MADE,
    agent=Agent("Ada de Vries", "0000-0002-1825-0097", "Example University", "https://ror.org/05dxps055", "Warm", "12"),
    environment=Environment("CPython 3.13.1", Machine("Linux", "glibc", "EPYC", (), "", ()), {}),
    inputs=[
        Input("260.nc", "https://doi.org/10.5072/x", "ab" * 32, 123, "application/x-netcdf"),
        Input("uur.txt", "ni:///sha-256;q6s", "cd" * 32, 123, "text/plain", url="https://example.org/uur.txt"),
        Input("a folder", "ni:///sha-256;zc0", "cd" * 32, 9, "application/octet-stream"),
    ],
    outputs=[
        Output(name, "12" * 32, "34" * 64, 12 << 30, name, "what", "application/zip", "anomaly") for name in FILES
    ],
    warnings=["one station was silent on node7"],
    hosts=["node7"],
    program="0.1.0",
)
DAYS = Coverage("1982-01-01", "2010-12-31", -20.0, 45.5, 12.25, 60.0, variables=("air_temperature",))
KEPT = Kept("urn:terp:anomalies:12", RECORD, POLICY, TAKEN, DAYS)

PAID = POLICY.model_copy(
    update={
        "taal": ("nl", "fry"),
        "funding": (
            Funding(naam="NWO", identificatie="https://ror.org/04jsz6e67", award="https://example.org/grant/12"),
            Funding(
                naam="Een fonds", identificatie="https://doi.org/10.13039/501100003246", award="OCENW.1", titel="Warm"
            ),
            Funding(naam="Een stichting", identificatie="0000 0001 2158 5405"),
            Funding(naam="Een gever", identificatie="KvK 12345678"),
            Funding(naam="Een ander"),
        ),
    }
)
RESTRICTED = POLICY.model_copy(
    update={
        "beperkingGebruik": (
            Beperking(type="Overig", grond="Archiefwet 1995, art. 15", looptijd="P75Y", variables=("t",)),
        ),
        "zorgdrager": Organisation(naam="Het archief", identificatie="https://ror.org/00example1", bron="ROR"),
        "aanvullendeMetagegevens": ("codebook.csv",),
    }
)
