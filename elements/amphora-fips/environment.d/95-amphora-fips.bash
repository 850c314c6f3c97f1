case "$DISTRO_NAME" in
    debian | ubuntu)
        echo "ERROR: amphora-fips: $DISTRO_NAME has no FIPS mode"
        exit 1
        ;;
esac
export DIB_DRACUT_ENABLED_MODULES="${DIB_DRACUT_ENABLED_MODULES:-}
- name: fips
"
export DIB_BOOTLOADER_DEFAULT_CMDLINE="${DIB_BOOTLOADER_DEFAULT_CMDLINE:-} fips=1"
