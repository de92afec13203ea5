"""Every module that defines tables.

Whoever opens the database imports this one (the server, workers, the processes of a training, migrations),
so that the metadata knows all tables whatever else the process has imported.
"""

from app import idempotency
from app.campaigns import tables as campaigns
from app.datasets import tables as datasets
from app.devices import tables as devices
from app.evaluations import tables as evaluations
from app.experiments import tables as experiments
from app.exports import tables as exports
from app.genotypes import tables as genotypes
from app.jobs import tables as jobs
from app.keys import tables as keys
from app.latent_spaces import tables as latent_spaces
from app.proposals import tables as proposals
from app.searches import tables as searches
from app.tracking import tables as tracking
from app.trainings import tables as trainings
from app.webhooks import tables as webhooks

MODULES = (
    campaigns,
    datasets,
    devices,
    evaluations,
    experiments,
    exports,
    genotypes,
    idempotency,
    jobs,
    keys,
    latent_spaces,
    proposals,
    searches,
    tracking,
    trainings,
    webhooks,
)
