"""The door: requests from outside enter at a site by the Open Inference Protocol (KServe v2), over HTTP and gRPC.

`runtime.open_inference` says what the application is called outside and how values are written; here `http_codec` and
`grpc_codec` read and write whole requests, `service` takes one through the host, and `door` listens.
"""
