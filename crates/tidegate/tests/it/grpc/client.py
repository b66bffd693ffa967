# A client of gRPC without generated code. Each check prints a line of what it saw; the test compares.
import queue
import sys
import time

import grpc

channel = grpc.insecure_channel(
    sys.argv[1],
    options=[
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.enable_retries", 0),
    ],
)


def unary(method):
    return channel.unary_unary("/test.Echo/" + method)


def said(error):
    trailers = {key: value for key, value in error.trailing_metadata() or () if key.startswith("x-")}
    return f"{error.code().name} {error.details()} {trailers}"


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return said(error)
    return "no failure"


def echo():
    large = "m" * 12_000
    reply, call = unary("Echo").with_call(b"hello", metadata=[("x-large", large)], timeout=9)
    left = dict(call.initial_metadata())["x-left"]
    trailers = dict(call.trailing_metadata())
    print("echo", reply, 0 < float(left) < 9, trailers["x-large"] == large, trailers["x-bin-bin"])


def big():
    message = bytes(range(256)) * 40_000
    print("big", unary("Echo")(message) == message)


def errors():
    print("fail", failure(lambda: unary("Fail")(b"")))
    print("none", failure(lambda: channel.unary_unary("/test.None/M")(b"")))


def deadline():
    began = time.monotonic()
    code = failure(lambda: unary("Slow")(b"", timeout=0.4)).split()[0]
    print("deadline", code, time.monotonic() - began < 3)


def cancel():
    call = unary("Slow").future(b"")
    time.sleep(0.3)
    call.cancel()
    for _ in range(100):
        if unary("WasLeft")(b"") == b"yes":
            break
        time.sleep(0.05)
    print("cancel", unary("WasLeft")(b""))


def streams():
    print("count", [int(n) for n in channel.unary_stream("/test.Echo/Count")(b"5")])
    print("many", len(list(channel.unary_stream("/test.Echo/Count")(b"3000"))))
    print("add", channel.stream_unary("/test.Echo/Add")(str(n).encode() for n in range(200)))
    asked = queue.Queue()
    replies = channel.stream_stream("/test.Echo/Chat")(iter(asked.get, None))
    seen = []
    for word in (b"tide", b"gate"):
        asked.put(word)
        seen.append(next(replies))
    asked.put(None)
    print("chat", seen, list(replies))


for check in sys.argv[2:]:
    globals()[check]()
