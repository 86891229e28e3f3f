"""Compiles the config language to `easyssl/config/easyssl.desc`.

The library makes its message classes from that descriptor set when it is imported, so that neither protoc nor
generated code, which is bound to one protobuf version, is needed to use it. Run this after changing a
`.proto` file:

    python protos/build.py
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TARGET = HERE.parent / "easyssl" / "config" / "easyssl.desc"


def compile_protos(*, with_comments: bool = False) -> bytes:
    """Returns the serialized FileDescriptorSet of all `.proto` files, in order of dependence.

    Args:
        with_comments: Whether the comments are kept; the reference documentation is made from them.

    Raises:
        RuntimeError: If protoc rejects a file; it has printed the place.
    """
    import grpc_tools
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "set.desc"
        # The virtual prefix keeps short file names such as "model.proto" from meeting those of other
        # packages in the process-wide descriptor pool.
        arguments = [
            "protoc",
            f"--proto_path=easyssl={HERE}",
            f"--proto_path={pathlib.Path(grpc_tools.__file__).parent / '_proto'}",
            f"--descriptor_set_out={out}",
        ]
        if with_comments:
            arguments.append("--include_source_info")
        arguments += sorted(f"easyssl/{path.name}" for path in HERE.glob("*.proto"))
        if protoc.main(arguments) != 0:
            raise RuntimeError("protoc rejected a .proto file")
        return out.read_bytes()


def main() -> int:
    """Writes the descriptor set and returns the exit code."""
    TARGET.write_bytes(compile_protos())
    print(f"wrote {TARGET.relative_to(HERE.parent)} ({TARGET.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
