# Runs its arguments in a container, as Docker documents it (moby/moby, daemon/pkg/oci: capabilities, mounts, paths).
#
# rootless=1     in a user namespace
# capabilities   those of its root, for setpriv(1)
# user=1         the program is run by an ordinary user
# filter         the program that installs the seccomp filter and runs its arguments; nothing: no filter
# covered=1      paths of /proc and /sys are covered or read-only
# sys=ro         its /sys
# root=ro        its root file system
set -eu
PATH="$PATH:/usr/sbin:/sbin"
binary="$1"
shift
if [ -z "${inside:-}" ]; then
    inside=1 exec unshare ${rootless:+--user --map-root-user} --mount --net --uts --ipc --pid --fork --kill-child --mount-proc \
        sh -c "$script" sh "$binary" "$@"
fi

place="$PWD"
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root /mnt/etc
if [ -n "$rootless" ]; then
    mount --rbind / /mnt/root
else
    mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
fi
cd /mnt/root
mount --rbind /proc proc
mount -t sysfs -o "$sys,nosuid,nodev,noexec" sysfs sys
[ ! -d /sys/fs/cgroup ] || mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs tmp
# Files of the engine's.
for file in hosts hostname resolv.conf; do
    touch "/mnt/etc/$file"
    mount --bind "/mnt/etc/$file" "etc/$file"
done
# Volumes: where the program is, and the working directory.
for volume in "$(dirname "$binary")" "$place" ${filter:+"$(dirname "$filter")"}; do
    mkdir -p ".$volume"
    mount --rbind "$volume" ".$volume"
done
pivot_root . mnt
umount -l /mnt
if [ -n "$covered" ]; then
    for path in /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi \
        /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware; do
        if [ -d "$path" ]; then
            mount -t tmpfs -o ro tmpfs "$path"
        elif [ -e "$path" ]; then
            mount --bind /dev/null "$path"
        fi
    done
    for path in /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger; do
        if [ -e "$path" ]; then
            mount --bind "$path" "$path"
            mount -o remount,bind,ro,nosuid,nodev,noexec "$path"
        fi
    done
fi
[ "$root" != ro ] || mount -o remount,bind,ro /
cd "$place"

if [ -z "$user" ]; then
    setpriv --bounding-set="$capabilities" --inh-caps=-all $filter "$binary" "$@"
elif [ -n "$rootless" ]; then
    # One user is mapped, so there is no other: this one, without any privilege.
    setpriv --bounding-set=-all,+setfcap --inh-caps=-all $filter "$binary" "$@"
else
    # Directories above it may be closed to the user.
    touch /tmp/test
    mount --bind "$binary" /tmp/test
    HOME=/tmp setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set="$capabilities" --inh-caps=-all $filter /tmp/test "$@"
fi
