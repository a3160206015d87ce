"""Jobs truly run through submitit's local executor; the manifest is held against Kubernetes' own schema."""

import copy
import os
import stat
import sys
from types import SimpleNamespace

import kubernetes_validate
import pytest
import submitit
import yaml
from click.testing import CliRunner

from run_study import cli, main
from studies.commands import kubernetes, slurm, work
from studies.commands.place import Place
from studies.commands.scheduler import LaunchError, worker_command

BEGUN = SimpleNamespace(user_attrs={"device": "cuda:1"})  # a study
SECRET_URL = "postgresql+psycopg://tuner:hunter2@db/studies"
KUBERNETES = "1.33"


@pytest.fixture
def local(tmp_path):
    executor = submitit.LocalExecutor(tmp_path / "jobs", max_num_timeout=3)
    executor.update_parameters(timeout_min=1)
    return executor


def program(folder, text):
    path = folder / "program.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def submitted(command, jobs, executor, folder):
    return slurm.submit(command, {"OPTUNA_STORAGE": SECRET_URL}, jobs, folder, {}, executor)


def test_the_command_of_a_job_is_one_that_the_program_knows(tmp_path):
    command = worker_command([], str(tmp_path), "no study of that name", "cpu")
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    assert "There is no study" in str(done.exception)


def test_every_job_runs_the_command_and_knows_the_storage_only_from_its_environment(local, tmp_path):
    text = (
        "import os, pathlib, sys\n"
        "pathlib.Path(sys.argv[1], str(os.getpid())).write_text(os.environ['OPTUNA_STORAGE'])"
    )
    (tmp_path / "out").mkdir()
    jobs = submitted([*program(tmp_path, text), str(tmp_path / "out")], 2, local, tmp_path)
    assert [job.result() for job in jobs] == [None, None]
    assert [file.read_text() for file in (tmp_path / "out").iterdir()] == [SECRET_URL] * 2
    assert "OPTUNA_STORAGE" not in os.environ
    kept = [file for file in (tmp_path / "jobs").rglob("*") if file.is_file()]
    assert kept
    assert not any(b"hunter2" in file.read_bytes() for file in kept)


def test_of_a_failed_worker_the_exit_code_and_the_last_lines_are_told(local, tmp_path):
    text = "import sys\nfor i in range(40): print('line', i, file=sys.stderr)\nsys.exit(5)"
    [job] = submitted(program(tmp_path, text), 1, local, tmp_path)
    told = str(job.exception())
    assert "The worker ended with exit code 5." in told
    assert "line 39" in told
    assert "line 21" in told
    assert "line 5\n" not in told
    assert str(job.paths.stderr) in told


def test_at_its_time_limit_a_worker_saves_and_its_job_goes_on_from_there(local, tmp_path):
    text = """
import os, pathlib, signal, sys, time
saved = pathlib.Path(sys.argv[1])
def save(*_):
    time.sleep(0.5)
    saved.write_text("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
if not saved.exists():
    for process in (os.getpid(), os.getppid()):  # as Slurm does: it signals every process of a job
        os.kill(process, signal.SIGUSR2)
    time.sleep(50)
print("went on")
"""
    [job] = submitted([*program(tmp_path, text), str(tmp_path / "saved")], 1, local, tmp_path)
    assert job.result() is None
    assert (tmp_path / "saved").read_text() == "saved"
    assert job.stdout().count("went on") == 1


def test_after_it_saved_a_preempted_worker_leaves_the_end_of_its_job_to_slurm(local, tmp_path):
    """Slurm queues a job again only when it ended it: one that ends by itself in the grace time is lost."""
    text = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); sys.exit(143)"
    job = local.submit(slurm.WorkerJob([*program(tmp_path, text), str(tmp_path / "saved")], grace=2))
    assert "exit code 143" in str(job.exception())
    ends = [path.stat().st_mtime for path in (tmp_path / "saved", job.paths.result_pickle)]
    assert ends[1] - ends[0] > 2


@pytest.fixture
def login_node(tmp_path, monkeypatch):
    """Where Slurm is said to be: sbatch keeps what it gets, and answers as Slurm does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (
        ("srun", ""),
        ("sbatch", f'cp "$1" {tmp_path}/script; env > {tmp_path}/env; echo "Submitted batch job 17"'),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return tmp_path


def test_sbatch_gets_the_options_and_the_word_to_save(login_node):
    options = {"partition": "gpu", "time": "90", "gpus-per-node": "1", "job-name": "mine"}
    command = worker_command(["run_study.py"], "/shared/runs", "small", "cuda")
    jobs = slurm.submit(command, {"OPTUNA_STORAGE": SECRET_URL}, 3, login_node / "jobs", options, None)
    assert [job.job_id for job in jobs] == ["17_0", "17_1", "17_2"]
    script = (login_node / "script").read_text()
    flags = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}
    assert flags >= {
        "partition=gpu",
        "time=90",
        "gpus-per-node=1",
        "job-name=mine",
        "requeue",
        "signal=USR2@300",
        "array=0-2%3",
    }
    assert "hunter2" not in script
    assert f"OPTUNA_STORAGE={SECRET_URL}\n" in (login_node / "env").read_text()
    assert jobs[0].submission().function.command == [
        "run_study.py",
        *("--home", "/shared/runs", "worker", "small", "--max-trials", "1", "--device", "cuda"),
    ]


def test_an_option_that_breaks_saving_is_refused(login_node):
    with pytest.raises(LaunchError, match=r"Cannot set signal.*\n.*\n.*scaling\.md"):
        slurm.executor_of(login_node, {"signal": "KILL@1"})
    with pytest.raises(LaunchError, match="whole number of minutes"):
        slurm.executor_of(login_node, {"time": "4:00:00"})


def test_what_sbatch_refuses_is_told(login_node):
    (login_node / "bin" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition: gpuu' >&2\nexit 1\n")
    with pytest.raises(LaunchError, match=r"refused the jobs\.\n.*invalid partition: gpuu"):
        slurm.submit(["true"], {}, 1, login_node / "jobs", {"partition": "gpuu"}, None)


def test_without_slurm_or_submitit_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="login node"):
        slurm.submit(["true"], {}, 1, tmp_path, {}, None)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(LaunchError, match=r"submitit is not installed\.\n.*-e '\.\[slurm\]'"):
        slurm.submit(["true"], {}, 1, tmp_path, {}, None)


def small_manifest(**options):
    command = worker_command(["run_study.py"], "/runs", "My_Study ж 2", "cuda")
    return kubernetes.manifest(command, "My_Study ж 2", "registry/tuner:1", 12, options, {})


def test_the_manifest_is_what_kubernetes_knows():
    for document in (
        small_manifest(),
        small_manifest(**{"nvidia.com/gpu": "1", "cpu": "500m", "namespace": "voices"}),
    ):
        assert kubernetes_validate.validate(yaml.safe_load(yaml.safe_dump(document)), KUBERNETES, strict=True)
    wrong = copy.deepcopy(document)
    wrong["spec"]["backoffLimitPerIndexes"] = wrong["spec"].pop("backoffLimitPerIndex")
    with pytest.raises(kubernetes_validate.ValidationError, match="backoffLimitPerIndexes"):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_every_pod_is_a_worker_of_one_trial_that_is_replaced_when_it_saved():
    job = small_manifest(secret="db", volume="disk", memory="16Gi")
    assert job["metadata"] == {"generateName": "smart-tuner-my-study-2-"}
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (12, 12, "Indexed")
    assert {
        rule["action"]: rule["onExitCodes"]["values"]
        for rule in spec["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    } == {"Ignore": [143], "FailIndex": [2, 5], "FailJob": [8]}
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "disk"}
    [worker] = pod["containers"]
    assert worker["command"] == [
        "run_study.py",
        *("--home", "/runs", "worker", "My_Study ж 2", "--max-trials", "1", "--device", "cuda"),
    ]
    assert worker["volumeMounts"][0]["mountPath"] == "/runs"
    assert worker["resources"]["limits"] == worker["resources"]["requests"] == {"cpu": "2", "memory": "16Gi"}
    secret = {"secretKeyRef": {"name": "db", "key": "storage-url"}}
    assert {"name": "OPTUNA_STORAGE", "valueFrom": secret} in worker["env"]


def test_an_unknown_resource_is_refused_with_the_known_ones():
    with pytest.raises(LaunchError, match=r"memroy(.|\n)*cpu.*memory.*volume"):
        small_manifest(memroy="1Gi")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--launch", "kubernetes", "--jobs", "2"], "--launch kubernetes needs --image"),
        (["--launch", "slurm"], "--launch slurm needs --jobs"),
        (["--launch", "slurm", "--jobs", "2", "--image", "x"], "--image cannot be used with --launch slurm"),
        (["--jobs", "2"], "--jobs cannot be used without --launch"),
        (
            ["--launch", "slurm", "--jobs", "2", "--workers", "2"],
            "--with-pages and --workers cannot be used with --launch",
        ),
        (["--launch", "slurm", "--jobs", "2", "--option", "gpu"], '--option "gpu" is not KEY=VALUE'),
    ],
)
def test_flags_that_do_not_belong_together_are_refused(flags, said):
    done = CliRunner().invoke(cli, ["start", "quickstart", *flags])
    assert done.exit_code == 2
    assert said in done.output


def test_a_database_that_workers_cannot_share_is_refused_before_anything_is_stored(tmp_path, capsys):
    code = main(["--home", str(tmp_path / "runs"), "start", "quickstart", "--launch", "slurm", "--jobs", "2"])
    assert code == 2
    assert "SQLite" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_every_job_gets_the_store_of_checkpoints_and_whether_to_track(login_node, monkeypatch):
    monkeypatch.setattr(work, "open_study", lambda *_, **__: BEGUN)  # of a database that is not there
    monkeypatch.setattr(Place, "storage", lambda _: None)
    store = "s3://voices/checkpoints"
    start = ["--home", str(login_node / "runs"), "--storage", SECRET_URL, "--artifacts", store, "start"]
    start += ["quickstart", "--no-tracking", "--jobs", "2", "--launch"]
    done = CliRunner().invoke(cli, [*start, "kubernetes", "--image", "tuner:1"])
    [pod] = yaml.safe_load(done.stdout)["spec"]["template"]["spec"]["containers"]
    assert pod["command"][-2:] == ["--device", "cuda:1"]
    told = {variable["name"]: variable.get("value") for variable in pod["env"]}
    assert (told["SMART_TUNER_ARTIFACTS"], told["SMART_TUNER_TRACKING"]) == (store, "0")
    assert CliRunner().invoke(cli, [*start, "slurm"]).exit_code == 0
    told = (login_node / "env").read_text().splitlines()
    assert f"SMART_TUNER_ARTIFACTS={store}" in told and "SMART_TUNER_TRACKING=0" in told
