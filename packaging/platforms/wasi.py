# python3 wasi.py PROGRAM ARGUMENT...: runs a program for wasip1 with this process's standard streams and
# environment, and the current directory as `.`. What the program is compiled to is kept beside it.
import os, sys
import wasmtime as w

def module(engine, program):
    kept = program + '.compiled'
    if not os.path.exists(kept) or os.path.getmtime(kept) < os.path.getmtime(program):
        with open(kept, 'wb') as file:
            file.write(w.Module.from_file(engine, program).serialize())
    return w.Module.deserialize_file(engine, kept)

engine = w.Engine(); store = w.Store(engine); linker = w.Linker(engine); linker.define_wasi()
config = w.WasiConfig(); config.argv = sys.argv[1:]; config.inherit_env()
config.inherit_stdin(); config.inherit_stdout(); config.inherit_stderr(); config.preopen_dir('.', '.')
store.set_wasi(config)
instance = linker.instantiate(store, module(engine, sys.argv[1]))
try:
    instance.exports(store)['_start'](store)
except w.ExitTrap as exit:
    sys.exit(exit.code)
