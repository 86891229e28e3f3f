"""Compiles the config language to `easyssl/config/easyssl.desc`.

The library makes its message classes from that descriptor set when it is imported, so that neither protoc nor
generated code, which is bound to one protobuf version, is needed to use it. Run this after changing a
`.proto` file:

    python protos/build.py
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parent / "easyssl" / "config" / "easyssl.desc"


def compile_protos(*, with_comments: bool = False) -> bytes:
    """Returns the serialized FileDescriptorSet of all `.proto` files, in order of dependence.

    Args:
        with_comments: Whether the comments are kept; the reference documentation is made from them.

    Raises:
        RuntimeError: If protoc is not installed or rejects a file; the text says where.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "set.desc"
        # In a process of its own, because the compiler's copy of protobuf and TensorFlow's crash each other.
        command = [sys.executable, "-m", "grpc_tools.protoc"]
        # The virtual prefix keeps short file names such as "model.proto" from meeting those of other
        # packages in the process-wide descriptor pool.
        command += [f"--proto_path=easyssl={HERE}", f"--descriptor_set_out={out}"]
        if with_comments:
            command.append("--include_source_info")
        command += sorted(f"easyssl/{path.name}" for path in HERE.glob("*.proto"))
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return out.read_bytes()


def main() -> int:
    """Writes the descriptor set and returns the exit code."""
    TARGET.write_bytes(compile_protos())
    print(f"wrote {TARGET.relative_to(HERE.parent)} ({TARGET.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
