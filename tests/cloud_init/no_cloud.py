"""What cloud-init's NoCloud makes of a seed: no_cloud.py IMAGE FOLDER, the image's own files being in FOLDER.

Devices are found by blkid's word on the image, and mounting gives the folder; everything else is cloud-init's.
"""

import json
import os
import subprocess
import sys
import tempfile

import yaml
from cloudinit import helpers, util
from cloudinit.net import netplan, network_state
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
    network = source.network_config
    state = network_state.parse_net_config_data(network)
    # Relative: an absolute path would be that of this machine.
    netplan.Renderer({"netplan_path": "etc/netplan/50-cloud-init.yaml"}).render_network_state(state, target=top + "/root")
    files = {}
    for where, _, names in os.walk(top + "/root"):
        for name in names:
            path = os.path.join(where, name)
            with open(path) as file:
                files[path.removeprefix(top + "/root")] = yaml.safe_load(file)
    found = {
        "seed": source.seed,
        "dsmode": source.dsmode,
        "metadata": source.metadata,
        "userdata": util.decode_binary(source.userdata_raw),
        "vendordata": util.decode_binary(source.vendordata_raw),
        "network": network,
        "netplan": files,
    }
json.dump(found, sys.stdout)
