"""What cloud-init's NoCloud makes of a seed: no_cloud.py IMAGE FOLDER, the image's own files being in FOLDER.

Devices are found by blkid's word on the image, and mounting gives the folder; everything else is cloud-init's.
"""

import json
import subprocess
import sys
import tempfile

import yaml
from cloudinit import handlers, helpers, stages, util
from cloudinit.sources import DataSourceNoCloud

image, folder = sys.argv[1:]
said = subprocess.run(["blkid", "-p", "-o", "export", image], check=True, capture_output=True, text=True).stdout
tags = dict(line.split("=", 1) for line in said.splitlines())


def find_devs_with(criteria=None, **_):
    name, value = criteria.split("=", 1)
    return ["/dev/vdb"] if tags.get(name) == value else []


def mount_cb(device, callback, data=None, **_):
    assert device == "/dev/vdb"
    return callback(folder, data)


util.find_devs_with = find_devs_with
util.mount_cb = mount_cb
DataSourceNoCloud.dmi.read_dmi_data = lambda _: None
util.get_cmdline = lambda: "root=LABEL=cloudimg-rootfs"

with tempfile.TemporaryDirectory() as top:
    paths = helpers.Paths({"cloud_dir": top, "run_dir": top})
    source = DataSourceNoCloud.DataSourceNoCloud({}, None, paths)
    assert source._get_data()
    init = stages.Init([])
    init._cfg = {"system_info": {"paths": {"cloud_dir": top, "run_dir": top}}}
    init.datasource = source
    # What it would write of the network.
    applied, _ = init._find_networking_config()
    found = {
        "seed": source.seed,
        "dsmode": source.dsmode,
        "metadata": source.metadata,
        "userdata": util.decode_binary(source.userdata_raw),
        "vendordata": util.decode_binary(source.vendordata_raw),
        "network": source.network_config,
        "applied": applied,
        # By what its first line says, each part goes to one of cloud-init's handlers.
        "handlers": [handlers.type_from_starts_with(util.decode_binary(part)) for part in (source.userdata_raw, source.vendordata_raw)],
    }
json.dump(found, sys.stdout)
