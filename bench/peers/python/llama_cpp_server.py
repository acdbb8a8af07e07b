# llama.cpp's own server over a GGUF file, as a package ships it: tells its address, and ends with its standard input.
# Arguments: the file, the context, "embed" for vectors.
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = int(sys.argv[2])
params.n_parallel = 1
params.cpuparams.n_threads = 1  # beside the tests: threads that outnumber the cores wait for each other
if "embed" in sys.argv[3:]:
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
