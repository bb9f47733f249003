# Runs in a Linux guest: an ext4 file system on $device is written, mounted again, read and left
# unmounted; prints `sum MD5` of /data, and `kernel RELEASE`.
umount /mnt 2>/dev/null
mount -t ext4 "$device" /mnt || exit 10
dd if=/dev/urandom of=/mnt/data bs=1M count=16 2>/dev/null || exit 10
mkdir -p /mnt/many/files
for i in $(seq 100); do echo "file $i" >/mnt/many/files/$i; done
sum=$(md5sum </mnt/data)
umount /mnt || exit 11
echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 "$device" /mnt || exit 12
[ "$(md5sum </mnt/data)" = "$sum" ] || exit 13
[ "$(cat /mnt/many/files/* | wc -l)" = 100 ] || exit 14
umount /mnt
dmesg | grep -E 'BUG:|WARNING:|Oops|I/O error|soft lockup|exception Emask' && exit 15
echo "kernel $(uname -r)"
echo "sum ${sum%% *}"
