# Heat's machines are OpenStack's; NoCloud is for trying an image out.
export DIB_CLOUD_INIT_DATASOURCES=${DIB_CLOUD_INIT_DATASOURCES:-ConfigDrive, OpenStack, NoCloud}
export DIB_BOOTSTRAP_SSH=${DIB_BOOTSTRAP_SSH:-True}
