"""Many images at once: which mask belongs to which image, where results go, a run no bad file stops.

    pair_files     images and masks on disk    -> pairs, and a result for all that has no clear partner
    plan_batch     pairs and an output folder  -> jobs: no input is overwritten, no output written twice
    run_batch      jobs and an inpaint function -> a report with a result for each job
    write_record   the report                  -> a file for another program

Only ``run_batch`` opens images. Nothing here prints or knows the network.
"""

from inpaint.batch.pairing import READABLE_SUFFIXES as READABLE_SUFFIXES
from inpaint.batch.pairing import Pair as Pair
from inpaint.batch.pairing import pair_files as pair_files
from inpaint.batch.plan import Job as Job
from inpaint.batch.plan import claim_folder as claim_folder
from inpaint.batch.plan import plan_batch as plan_batch
from inpaint.batch.record import RECORD_FORMATS as RECORD_FORMATS
from inpaint.batch.record import BatchReport as BatchReport
from inpaint.batch.record import FileResult as FileResult
from inpaint.batch.record import write_record as write_record
from inpaint.batch.run import FileOptions as FileOptions
from inpaint.batch.run import Inpaint as Inpaint
from inpaint.batch.run import run_batch as run_batch
