# The first CPU keeps the interrupts and the housekeeping; all others are left to HAProxy. On a machine with a
# single CPU the kernel ignores it.
export DIB_BOOTLOADER_DEFAULT_CMDLINE="${DIB_BOOTLOADER_DEFAULT_CMDLINE:-} irqaffinity=0 isolcpus=1-N nohz=on nohz_full=1-N"
