# python3 wasi.py PROGRAM ARGUMENT...: runs a program for wasip1 with this process's standard streams and
# environment, and the current directory as `.`.
import sys
import wasmtime as w
engine = w.Engine(); store = w.Store(engine); linker = w.Linker(engine); linker.define_wasi()
config = w.WasiConfig(); config.argv = sys.argv[1:]; config.inherit_env()
config.inherit_stdin(); config.inherit_stdout(); config.inherit_stderr(); config.preopen_dir('.', '.')
store.set_wasi(config)
instance = linker.instantiate(store, w.Module.from_file(engine, sys.argv[1]))
try:
    instance.exports(store)['_start'](store)
except w.ExitTrap as exit:
    sys.exit(exit.code)
