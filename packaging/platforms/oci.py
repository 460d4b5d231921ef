# python3 oci.py LAYER DIRECTORY: makes an OCI image layout of one layer, the archive LAYER.
import hashlib, json, os, sys

layer, directory = sys.argv[1:]
blobs = os.path.join(directory, 'blobs', 'sha256')
os.makedirs(blobs)

def blob(data, kind):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(blobs, digest), 'wb') as file:
        file.write(data)
    return {'mediaType': 'application/vnd.oci.image.' + kind, 'digest': 'sha256:' + digest, 'size': len(data)}

def document(name, value):
    with open(os.path.join(directory, name), 'w') as file:
        json.dump(value, file)

data = open(layer, 'rb').read()
layers = [blob(data, 'layer.v1.tar')]
config = {'architecture': 'amd64', 'os': 'linux', 'config': {},
          'rootfs': {'type': 'layers', 'diff_ids': [layers[0]['digest']]}}
config = blob(json.dumps(config).encode(), 'config.v1+json')
manifest = {'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
            'config': config, 'layers': layers}
manifest = blob(json.dumps(manifest).encode(), 'manifest.v1+json')
document('oci-layout', {'imageLayoutVersion': '1.0.0'})
document('index.json', {'schemaVersion': 2, 'manifests': [manifest]})
