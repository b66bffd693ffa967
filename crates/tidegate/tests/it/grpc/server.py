# A server of gRPC without generated code: messages are bytes. Prints its port.
import sys
import time
from concurrent import futures

import grpc


def echo(request, context):
    sent = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
    left = context.time_remaining()
    context.send_initial_metadata([("x-left", "none" if left is None or left > 1e6 else f"{left:.3f}")])
    context.set_trailing_metadata(sent + [("x-bin-bin", b"\x00\xff")])
    return request


def fail(request, context):
    context.set_trailing_metadata([("x-why", "because")])
    context.abort(grpc.StatusCode.NOT_FOUND, "nö 100%")


def slow(request, context):
    gone.append(False)
    context.add_callback(lambda: gone.append(True))
    for _ in range(200):
        if not context.is_active():
            break
        time.sleep(0.05)
    return b"late"


def was_left(request, context):
    return b"yes" if True in gone else b"no"


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def add(requests, context):
    return str(sum(int(request) for request in requests)).encode()


def chat(requests, context):
    for request in requests:
        yield request.upper()


gone = []
handlers = grpc.method_handlers_generic_handler(
    "test.Echo",
    {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "WasLeft": grpc.unary_unary_rpc_method_handler(was_left),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Add": grpc.stream_unary_rpc_method_handler(add),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    },
)
server = grpc.server(
    futures.ThreadPoolExecutor(16),
    options=[("grpc.max_metadata_size", 64 * 1024), ("grpc.max_receive_message_length", 64 << 20)],
)
server.add_generic_rpc_handlers((handlers,))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port)
sys.stdin.read()
