# In the target the hooks directory is mounted read-only at /tmp/in_target.d: what lies there can be used while
# the image is built, and is not in the image.
if [ -r /tmp/in_target.d/lent/build-host/ca-bundle.crt ]; then
    export SSL_CERT_FILE=/tmp/in_target.d/lent/build-host/ca-bundle.crt
    export PIP_CERT=$SSL_CERT_FILE REQUESTS_CA_BUNDLE=$SSL_CERT_FILE CURL_CA_BUNDLE=$SSL_CERT_FILE GIT_SSL_CAINFO=$SSL_CERT_FILE
fi

# apt-key, with which diskimage-builder's Ubuntu element installs DIB_APT_KEYRING, needs GnuPG in the target.
if [ -n "${DIB_APT_KEYRING:-}" ]; then
    export DIB_MMDEBSTRAP_EXTRA_ARGS="${DIB_MMDEBSTRAP_EXTRA_ARGS:-} --include=gnupg"
    export DIB_DEBOOTSTRAP_EXTRA_ARGS="${DIB_DEBOOTSTRAP_EXTRA_ARGS:-} --include=gnupg"
fi

# The Release files of a snapshot may be as old as they like. What mmdebstrap keeps of this in the target,
# root.d/20-accept-old-archives takes away again.
if [ -n "${DISKIMAGE_CREATE_SNAPSHOT:-}" ]; then
    export DIB_MMDEBSTRAP_EXTRA_ARGS="${DIB_MMDEBSTRAP_EXTRA_ARGS:-} --aptopt='Acquire::Check-Valid-Until \"false\"'"
fi
