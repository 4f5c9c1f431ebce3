# A guest as far as containerd knows: folders and a network of its own. What it changes ends with it.
set -eu
mount -t tmpfs tmpfs /run
for folder in /etc /opt /var/lib; do
    mkdir -p "/run/upper$folder" "/run/work$folder"
    mount -t overlay overlay -o "lowerdir=$folder,upperdir=/run/upper$folder,workdir=/run/work$folder" "$folder"
done
mkdir -p /var/lib/containerd
mount -t tmpfs tmpfs /var/lib/containerd
ip link set lo up
for number in 1 2 3 4 5; do ip address add "192.0.2.$number/32" dev lo; done
cat >/etc/hosts <<END
192.0.2.1 basic.example
192.0.2.2 token.example
192.0.2.3 open.example
192.0.2.4 empty.example
192.0.2.5 path.example
END
exec "$@"
