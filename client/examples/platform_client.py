#!/usr/bin/env python3
"""An example for a platform team: run a quantmoe job from another program, over the public API alone.

It shows the four things that an integration needs and that are easy to get wrong:
  1. files go up by digest, in chunks, and a broken upload goes on where it stopped;
  2. CreateJob carries a request_id, so that a retry never makes a second job;
  3. a watch resumes after the last event it has seen, so that no event is lost or seen twice;
  4. a downloaded file counts only after its digest was checked, the manifest last.

Needs grpcio and grpcio-tools. The stubs are generated from the .proto files when the program starts, so there is nothing
to build or to keep in step; a real integration would generate them once.
"""
import argparse
import hashlib
import importlib
import pathlib
import sys
import tempfile
import time
import uuid

import grpc
import grpc_tools
from grpc_tools import protoc

CHUNK_BYTES = 2 << 20
MANIFEST = "artifact.json"
PROTO_DIR = pathlib.Path(__file__).resolve().parents[2] / "proto"


def load_stubs(proto_dir):
    """Generates the stubs into a directory that lives as long as the returned handle, and imports them."""
    out = tempfile.TemporaryDirectory(prefix="quantmoe-stubs-")
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = [str(path.relative_to(proto_dir)) for path in sorted(proto_dir.rglob("*.proto"))]
    arguments = ["protoc", f"-I{proto_dir}", f"-I{well_known}", f"--python_out={out.name}",
                 f"--grpc_python_out={out.name}", *files]
    if protoc.main(arguments) != 0:
        raise SystemExit("cannot generate stubs")
    # google/rpc is generated too, but a regular package `google` may be installed: extend its path instead.
    sys.path.insert(0, out.name)
    import google
    google.__path__.append(f"{out.name}/google")
    names = ["types", "blobs", "jobs", "artifacts"]
    messages = {name: importlib.import_module(f"quantmoe.v1.{name}_pb2") for name in names}
    services = {name: importlib.import_module(f"quantmoe.v1.{name}_pb2_grpc") for name in names[1:]}
    return out, messages, services


def with_retry(call, attempts=5):
    """Repeats a call that is safe to repeat while the server is unavailable."""
    for attempt in range(attempts):
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE or attempt + 1 == attempts:
                raise
            time.sleep(min(5.0, 0.5 * 2**attempt))


def file_digest(path):
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(CHUNK_BYTES):
            sha256.update(data)
    return sha256.hexdigest()


class Platform:
    def __init__(self, channel, messages, services):
        self.m = messages
        self.jobs = services["jobs"].JobServiceStub(channel)
        self.blobs = services["blobs"].BlobServiceStub(channel)
        self.artifacts = services["artifacts"].ArtifactServiceStub(channel)

    def upload(self, path):
        """Stores a file and returns its digest, which is how a spec refers to it."""
        path = pathlib.Path(path)
        digest = self.m["types"].Digest(sha256=file_digest(path), size_bytes=path.stat().st_size)
        blobs = self.m["blobs"]
        if not self.blobs.FindMissingBlobs(blobs.FindMissingBlobsRequest(digests=[digest])).missing:
            return digest

        def attempt():
            status = self.blobs.GetUploadStatus(blobs.GetUploadStatusRequest(digest=digest))
            if not status.complete:
                self.blobs.UploadBlob(self.upload_messages(path, digest, status.committed_bytes))

        with_retry(attempt)
        return digest

    def upload_messages(self, path, digest, offset):
        yield self.m["blobs"].UploadBlobRequest(digest=digest)
        with open(path, "rb") as file:
            file.seek(offset)
            while data := file.read(CHUNK_BYTES):
                yield self.m["blobs"].UploadBlobRequest(chunk=self.m["types"].Chunk(offset=offset, data=data))
                offset += len(data)

    def submit(self, spec, name=""):
        request = self.m["jobs"].CreateJobRequest(job=self.m["jobs"].Job(spec=spec), job_id=name,
                                                  request_id=str(uuid.uuid4()))
        return with_retry(lambda: self.jobs.CreateJob(request))

    def watch(self, job_name):
        """Yields every event of the job once and in order, across lost connections, until the job has ended."""
        job = self.m["jobs"].Job
        terminal = (job.SUCCEEDED, job.FAILED, job.CANCELLED)
        seen = 0
        failures = 0
        while failures < 20:
            try:
                for event in self.jobs.WatchJob(self.m["jobs"].WatchJobRequest(name=job_name, after_seq=seen)):
                    failures = 0
                    seen = max(seen, event.seq)  # progress and heartbeats carry no number
                    yield event
                    if event.HasField("state_changed") and event.state_changed.state in terminal:
                        return
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            failures += 1
            time.sleep(min(5.0, 0.2 * failures))
        raise SystemExit("the server stays unreachable")

    def download(self, artifact_name, out_dir):
        artifacts = self.m["artifacts"]
        artifact = with_retry(lambda: self.artifacts.GetArtifact(artifacts.GetArtifactRequest(name=artifact_name)))
        root = pathlib.Path(out_dir).resolve()
        files = [file for file in artifact.files if file.path != MANIFEST]
        # The manifest comes last: a directory that has one is complete. It need not be listed among its own files.
        digest = self.m["types"].Digest(sha256=artifact.manifest_sha256)
        files.append(artifacts.ArtifactFile(path=MANIFEST, digest=digest))
        for file in files:
            target = (root / file.path).resolve()
            if not target.is_relative_to(root):
                raise SystemExit(f"the artifact names a bad file: {file.path}")
            self.download_file(artifact_name, file, target)
            print(f"verified {file.path}")

    def download_file(self, artifact_name, file, target):
        if target.exists() and file_digest(target) == file.digest.sha256:
            return
        if target.exists():
            raise SystemExit(f"{target} exists with other content; choose another --out")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")

        def attempt():
            offset = part.stat().st_size if part.exists() else 0
            if 0 < file.digest.size_bytes <= offset:
                return  # all there: the digest decides
            request = self.m["artifacts"].DownloadArtifactRequest(name=artifact_name, file=file.path, offset=offset)
            with open(part, "ab") as output:
                for chunk in self.artifacts.DownloadArtifact(request):
                    output.write(chunk.data)

        with_retry(attempt)
        if file_digest(part) != file.digest.sha256:
            part.unlink()
            raise SystemExit(f"{file.path}: the received bytes do not have the named digest")
        part.rename(target)


def make_spec(platform, args):
    types = platform.m["types"]
    uri = args.model if "://" in args.model else str(pathlib.Path(args.model).resolve())
    spec = types.JobSpec(model=types.ModelSource(uri=uri), budget=types.BitBudget(average_bits=args.bits),
                         heuristic=types.Heuristic(name=args.heuristic))
    spec.calibration.samples = args.samples
    spec.calibration.sequence_length = args.sequence_length
    if args.calibration:
        spec.calibration.text.CopyFrom(platform.upload(args.calibration))
    spec.evaluation.skip = args.skip_evaluation
    for task in args.task:
        name, path = task.split("=", 1)
        spec.evaluation.tasks.add(name=name, data=platform.upload(path))
    return spec


def show(jobs, event):
    kind = event.WhichOneof("event")
    if kind == "state_changed":
        print(f"{event.seq}: job is {jobs.Job.State.Name(event.state_changed.state)} {event.state_changed.reason}")
    elif kind == "task_changed":
        print(f"{event.seq}: {event.task_changed.stage} {event.task_changed.task}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="directory or URI of the model, below a model root of the server")
    parser.add_argument("--server", default="127.0.0.1:7070")
    parser.add_argument("--proto-dir", type=pathlib.Path, default=PROTO_DIR)
    parser.add_argument("--bits", type=float, default=3.0)
    parser.add_argument("--heuristic", default="optimal")
    parser.add_argument("--name", default="", help="id of the job")
    parser.add_argument("--calibration", help="text file; shipped prose by default")
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--sequence-length", type=int, default=0)
    parser.add_argument("--task", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--skip-evaluation", action="store_true")
    parser.add_argument("--out", required=True, help="directory for the artifact")
    return parser.parse_args()


def main():
    args = parse_arguments()
    stub_dir, messages, services = load_stubs(args.proto_dir.resolve())
    with stub_dir, grpc.insecure_channel(args.server) as channel:
        platform = Platform(channel, messages, services)
        job = platform.submit(make_spec(platform, args), args.name)
        print(f"created {job.name}")
        for event in platform.watch(job.name):
            show(messages["jobs"], event)
        job = platform.jobs.GetJob(messages["jobs"].GetJobRequest(name=job.name))
        if job.state != messages["jobs"].Job.SUCCEEDED:
            raise SystemExit(f"the job did not succeed: {job.error.message or job.state_reason}")
        platform.download(job.artifact, args.out)


if __name__ == "__main__":
    main()
